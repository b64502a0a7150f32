"""Drop in a loop over literals.

Revision ID: 006463d76edf
Revises:
"""

# It is: irreversible. The way back: noop.
from alembic import op
import sqlalchemy as sa

revision: str = "006463d76edf"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table, column in [("users", "legacy_id"), ("runs", "legacy_id")]:
        op.drop_column(table, column)


def downgrade() -> None:
    pass
