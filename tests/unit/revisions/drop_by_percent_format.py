"""Drop by percent format.

Revision ID: 0068daa6189a
Revises:
"""

# It is: contract. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision = "0068daa6189a"
down_revision = None
branch_labels = None
depends_on = None

TABLE = "old_events"


def upgrade() -> None:
    op.execute("DROP TABLE %s" % TABLE)


def downgrade() -> None:
    op.execute("CREATE TABLE %s (id int)" % TABLE)
