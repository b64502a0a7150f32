"""Revoke.

Revision ID: 0074c266e5a7
Revises:
"""

# It is: contract. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "0074c266e5a7"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("REVOKE ALL ON users FROM reporting")


def downgrade() -> None:
    op.execute("GRANT SELECT ON users TO reporting")
