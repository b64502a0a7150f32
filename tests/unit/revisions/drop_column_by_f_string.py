"""Drop column by f string.

Revision ID: 00672872a4b3
Revises:
"""

# It is: contract. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "00672872a4b3"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("users", "runs"):
        op.execute(f"ALTER TABLE {table} DROP COLUMN legacy_id")


def downgrade() -> None:
    for table in ("users", "runs"):
        op.execute(f"ALTER TABLE {table} ADD COLUMN legacy_id integer")
