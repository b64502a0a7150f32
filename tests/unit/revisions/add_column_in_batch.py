"""Add column in batch.

Revision ID: 0009ac8d55d6
Revises:
"""

# It is: expand. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "0009ac8d55d6"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("retries", sa.Integer(), nullable=False, server_default="0"))
        batch_op.create_index(batch_op.f("ix_runs_retries"), ["retries"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_runs_retries"))
        batch_op.drop_column("retries")
