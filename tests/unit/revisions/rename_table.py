"""Rename table.

Revision ID: 0044ecca1fb1
Revises:
"""

# It is: contract. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "0044ecca1fb1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.rename_table("flows", "workflows")


def downgrade() -> None:
    op.rename_table("workflows", "flows")
