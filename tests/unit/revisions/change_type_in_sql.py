"""Change type in sql.

Revision ID: 0047cd9a6985
Revises:
"""

# It is: contract. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "0047cd9a6985"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users ALTER COLUMN email TYPE varchar(100)")


def downgrade() -> None:
    op.execute("ALTER TABLE users ALTER COLUMN email SET DATA TYPE varchar(320)")
