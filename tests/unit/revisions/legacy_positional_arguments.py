"""nullable by position, as alembic 0.6 allowed.

Revision ID: 0081775acce2
Revises:
"""

# It is: contract. The way back: unknown.
from alembic import op
import sqlalchemy as sa

revision = "0081775acce2"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("users", "email", False)


def downgrade() -> None:
    op.alter_column("users", "email", True)
