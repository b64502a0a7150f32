"""Try to drop.

Revision ID: 0072b78993e4
Revises:
"""

# It is: irreversible. The way back: noop.
from alembic import op
import sqlalchemy as sa

revision: str = "0072b78993e4"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    try:
        op.drop_index("ix_old", "runs")
    except Exception:
        pass


def downgrade() -> None:
    pass
