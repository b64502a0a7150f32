"""Set statistics.

Revision ID: 00291bab4d43
Revises:
"""

# It is: expand. The way back: noop.
from alembic import op
import sqlalchemy as sa

revision: str = "00291bab4d43"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE runs ALTER COLUMN owner_id SET STATISTICS 500; ANALYZE runs;")


def downgrade() -> None:
    pass
