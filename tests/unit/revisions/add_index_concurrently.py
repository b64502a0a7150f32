"""Add index concurrently.

Revision ID: 0012e30cd7fb
Revises:
"""

# It is: expand. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "0012e30cd7fb"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.create_index(
            "ix_runs_owner_started",
            "runs",
            ["owner_id", sa.text("started_at DESC")],
            postgresql_concurrently=True,
            if_not_exists=True,
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index("ix_runs_owner_started", table_name="runs", postgresql_concurrently=True, if_exists=True)
