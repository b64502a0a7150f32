"""Add column without saying nullable.

Revision ID: 0006737aacd2
Revises:
"""

# It is: expand. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision = "0006737aacd2"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("finished_at", sa.DateTime()))


def downgrade() -> None:
    op.drop_column("runs", "finished_at")
