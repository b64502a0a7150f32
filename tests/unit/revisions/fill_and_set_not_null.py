"""Fill and set not null.

Revision ID: 004964e67181
Revises:
"""

# It is: contract. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "004964e67181"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE users SET locale = 'en' WHERE locale IS NULL")
    op.alter_column("users", "locale", nullable=False)


def downgrade() -> None:
    op.alter_column("users", "locale", nullable=True)
