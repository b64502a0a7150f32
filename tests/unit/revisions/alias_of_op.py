"""Alias of op.

Revision ID: 01132a100527
Revises:
"""

# It is: unknown. The way back: unknown.
from alembic import op
import sqlalchemy as sa

revision: str = "01132a100527"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    operations = op
    operations.drop_table("users")


def downgrade() -> None:
    operations = op
    operations.create_table("users")
