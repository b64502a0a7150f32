"""Columns from the application.

Revision ID: 009668db5f4e
Revises:
"""

# It is: unknown. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "009668db5f4e"
down_revision = None
branch_labels = None
depends_on = None

from app.db.columns import common_columns


def upgrade() -> None:
    op.create_table("teams", *common_columns(), sa.Column("name", sa.Text()))


def downgrade() -> None:
    op.drop_table("teams")
