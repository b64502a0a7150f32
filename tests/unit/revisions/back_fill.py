"""Back fill.

Revision ID: 008486c7e08e
Revises:
"""

# It is: data. The way back: noop.
from alembic import op
import sqlalchemy as sa

revision: str = "008486c7e08e"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE workflows SET visibility = 'private' WHERE visibility IS NULL")


def downgrade() -> None:
    pass
