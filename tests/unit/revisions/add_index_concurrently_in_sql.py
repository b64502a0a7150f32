"""The old trick: end alembic's transaction by hand.

Revision ID: 00134d52ba93
Revises:
"""

# It is: unknown. The way back: unknown.
from alembic import op
import sqlalchemy as sa

revision: str = "00134d52ba93"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("COMMIT")
    op.execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_runs_state ON runs USING btree (state) WHERE state <> 'done'")


def downgrade() -> None:
    op.execute("COMMIT")
    op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_runs_state")
