"""Drop table pass.

Revision ID: 0033e4bff3a9
Revises:
"""

# It is: irreversible. The way back: noop.
from alembic import op
import sqlalchemy as sa

revision: str = "0033e4bff3a9"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_table("old_events")


def downgrade() -> None:
    pass
