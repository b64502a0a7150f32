"""Lock timeout first.

Revision ID: 0026ff393fea
Revises:
"""

# It is: expand. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "0026ff393fea"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.execute("ALTER TABLE runs ADD COLUMN IF NOT EXISTS worker text")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.execute("ALTER TABLE runs DROP COLUMN IF EXISTS worker")
