"""Back fill that cannot go back.

Revision ID: 00868743473d
Revises:
"""

# It is: irreversible. The way back: irreversible.
from alembic import op
import sqlalchemy as sa

revision: str = "00868743473d"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE users SET email = lower(email)")


def downgrade() -> None:
    raise RuntimeError("the old spelling is not kept")
