"""Unknown option.

Revision ID: 0109248f2d97
Revises:
"""

# It is: unknown. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "0109248f2d97"
down_revision = None
branch_labels = None
depends_on = None

from app.db import OPTIONS


def upgrade() -> None:
    op.create_index("ix", "runs", ["state"], **OPTIONS)


def downgrade() -> None:
    op.drop_index("ix", "runs")
