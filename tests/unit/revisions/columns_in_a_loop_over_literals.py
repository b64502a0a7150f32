"""Columns in a loop over literals.

Revision ID: 00249dd2c445
Revises:
"""

# It is: expand. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "00249dd2c445"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("users", "workflows", "runs"):
        op.add_column(table, sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
        op.create_index(f"ix_{table}_deleted_at", table, ["deleted_at"])


def downgrade() -> None:
    for table in ("users", "workflows", "runs"):
        op.drop_index(f"ix_{table}_deleted_at", table_name=table)
        op.drop_column(table, "deleted_at")
