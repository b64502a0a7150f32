"""Drop enum.

Revision ID: 0060438b9cae
Revises:
"""

# It is: contract. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "0060438b9cae"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    sa.Enum("a", "b", name="mood").drop(op.get_bind(), checkfirst=False)


def downgrade() -> None:
    sa.Enum("a", "b", name="mood").create(op.get_bind(), checkfirst=False)
