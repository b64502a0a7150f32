"""Rewrites the table under an exclusive lock.

Revision ID: 0046a5f5d546
Revises:
"""

# It is: contract. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "0046a5f5d546"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("events", "id", existing_type=sa.Integer(), type_=sa.BigInteger())


def downgrade() -> None:
    op.alter_column("events", "id", existing_type=sa.BigInteger(), type_=sa.Integer())
