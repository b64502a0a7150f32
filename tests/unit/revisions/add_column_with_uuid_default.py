"""Rewrites the table.

Revision ID: 00993f509b5d
Revises:
"""

# It is: unknown. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "00993f509b5d"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("key", sa.Uuid(), nullable=False, server_default=sa.text("gen_random_uuid()")))


def downgrade() -> None:
    op.drop_column("runs", "key")
