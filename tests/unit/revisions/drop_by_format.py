"""Drop by format.

Revision ID: 0069d485f428
Revises:
"""

# It is: contract. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision = "0069d485f428"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE {} RENAME TO {}".format("flows", "workflows"))


def downgrade() -> None:
    op.execute("ALTER TABLE {} RENAME TO {}".format("workflows", "flows"))
