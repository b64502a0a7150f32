"""Truncate.

Revision ID: 00730260d23b
Revises:
"""

# It is: irreversible. The way back: noop.
from alembic import op
import sqlalchemy as sa

revision: str = "00730260d23b"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("TRUNCATE TABLE sessions RESTART IDENTITY CASCADE")


def downgrade() -> None:
    pass
