"""Set not null in sql.

Revision ID: 00509162373b
Revises:
"""

# It is: contract. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "00509162373b"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ALTER email SET NOT NULL")


def downgrade() -> None:
    op.execute("ALTER TABLE users ALTER email DROP NOT NULL")
