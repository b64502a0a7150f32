"""Drop two columns and give one back.

Revision ID: 003711b961c5
Revises:
"""

# It is: contract. The way back: unknown.
from alembic import op
import sqlalchemy as sa

revision: str = "003711b961c5"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_column("users", "nickname")
    op.drop_column("users", "title")


def downgrade() -> None:
    op.add_column("users", sa.Column("nickname", sa.Text()))
