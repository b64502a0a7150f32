"""Drop in a loop over a constant.

Revision ID: 0065caca8ad8
Revises:
"""

# It is: contract. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "0065caca8ad8"
down_revision = None
branch_labels = None
depends_on = None

TABLES = ["users", "runs"]


def upgrade() -> None:
    for table in TABLES:
        op.drop_column(table, "tenant")


def downgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("tenant", sa.Text()))
