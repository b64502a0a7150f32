"""Add identity column.

Revision ID: 01002f056fcb
Revises:
"""

# It is: unknown. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "01002f056fcb"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("number", sa.BigInteger(), sa.Identity(always=True)))


def downgrade() -> None:
    op.drop_column("runs", "number")
