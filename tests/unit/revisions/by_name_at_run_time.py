"""By name at run time.

Revision ID: 01140dac7c8b
Revises:
"""

# It is: unknown. The way back: unknown.
from alembic import op
import sqlalchemy as sa

revision: str = "01140dac7c8b"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    getattr(op, "drop_" + "table")("users")


def downgrade() -> None:
    getattr(op, "create_" + "table")("users")
