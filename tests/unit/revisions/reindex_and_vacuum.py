"""Reindex and vacuum.

Revision ID: 01126877be07
Revises:
"""

# It is: unknown. The way back: noop.
from alembic import op
import sqlalchemy as sa

revision: str = "01126877be07"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("VACUUM FULL runs")
        op.execute("REINDEX TABLE runs")


def downgrade() -> None:
    pass
