"""Rename column in sql.

Revision ID: 0043c595c9c9
Revises:
"""

# It is: contract. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "0043c595c9c9"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users RENAME name TO full_name")


def downgrade() -> None:
    op.execute("ALTER TABLE users RENAME full_name TO name")
