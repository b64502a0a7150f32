"""Old table behind if not exists in sql.

Revision ID: 0080bc05a9ae
Revises:
"""

# It is: contract. The way back: unknown.
from alembic import op
import sqlalchemy as sa

revision: str = "0080bc05a9ae"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE IF NOT EXISTS runs (id int); ALTER TABLE runs ALTER COLUMN owner_id SET NOT NULL;")


def downgrade() -> None:
    op.execute("ALTER TABLE runs ALTER COLUMN owner_id DROP NOT NULL")
