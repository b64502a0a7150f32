"""Bulk insert.

Revision ID: 00874a32fa73
Revises:
"""

# It is: data. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "00874a32fa73"
down_revision = None
branch_labels = None
depends_on = None

from datetime import datetime

plans = sa.table("plans", sa.column("id", sa.Integer), sa.column("name", sa.String), sa.column("created_at", sa.DateTime))


def upgrade() -> None:
    op.bulk_insert(
        plans,
        [
            {"id": 1, "name": "free", "created_at": datetime(2024, 1, 1)},
            {"id": 2, "name": "team", "created_at": datetime.now()},
        ],
    )


def downgrade() -> None:
    op.execute("DELETE FROM plans WHERE id IN (1, 2)")
