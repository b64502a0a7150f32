"""Add nullable column.

Revision ID: 000561bcbbbd
Revises:
"""

# It is: expand. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "000561bcbbbd"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workflows", sa.Column("description", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("workflows", "description")
