"""Drop index.

Revision ID: 00404e7e613c
Revises:
"""

# It is: contract. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "00404e7e613c"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_runs_state", table_name="runs")


def downgrade() -> None:
    op.create_index("ix_runs_state", "runs", ["state"])
