"""Operations by name.

Revision ID: 00828e74cd5d
Revises:
"""

# It is: contract. The way back: clean.
import sqlalchemy as sa

revision: str = "00828e74cd5d"
down_revision = None
branch_labels = None
depends_on = None

from alembic.op import add_column, drop_column
from sqlalchemy import Column, Integer


def upgrade() -> None:
    drop_column("users", "legacy_id")


def downgrade() -> None:
    add_column("users", Column("legacy_id", Integer))
