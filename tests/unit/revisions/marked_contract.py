"""Marked contract.

Revision ID: 0083e84d0583
Revises:
"""

# It is: contract. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "0083e84d0583"
down_revision = None
branch_labels = None
depends_on = None

floyo_class = "contract"  # v1 fails on rows that have it


def upgrade() -> None:
    op.add_column("runs", sa.Column("kind", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("runs", "kind")
