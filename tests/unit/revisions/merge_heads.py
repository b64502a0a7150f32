"""Merge 0a1b2c and 3d4e5f.

Revision ID: 002306c0e10e
Revises:
"""

# It is: expand. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "002306c0e10e"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
