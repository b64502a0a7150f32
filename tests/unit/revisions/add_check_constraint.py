"""Add check constraint.

Revision ID: 0056ebe5c687
Revises:
"""

# It is: contract. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "0056ebe5c687"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_check_constraint("positive", "runs", sa.column("cost") >= 0)


def downgrade() -> None:
    op.drop_constraint("positive", "runs")
