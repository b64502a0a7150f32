"""Add not null column without default.

Revision ID: 00512ce06803
Revises:
"""

# It is: contract. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "00512ce06803"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("region", sa.String(20), nullable=False))


def downgrade() -> None:
    op.drop_column("runs", "region")
