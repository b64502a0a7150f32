"""Rename column.

Revision ID: 0042f731cb20
Revises:
"""

# It is: contract. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "0042f731cb20"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("users", "name", new_column_name="full_name")


def downgrade() -> None:
    op.alter_column("users", "full_name", new_column_name="name")
