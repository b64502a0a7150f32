"""Several databases.

Revision ID: 0103c7937f7d
Revises:
"""

# It is: unknown. The way back: unknown.
from alembic import op
import sqlalchemy as sa

revision = "0103c7937f7d"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    globals()["upgrade_%s" % "main"]()


def downgrade() -> None:
    globals()["downgrade_%s" % "main"]()
