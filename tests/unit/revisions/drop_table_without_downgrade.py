"""Drop table without downgrade.

Revision ID: 00341dc957f3
Revises:
"""

# It is: irreversible. The way back: irreversible.
from alembic import op
import sqlalchemy as sa

revision: str = "00341dc957f3"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP TABLE IF EXISTS old_events, old_links CASCADE")
