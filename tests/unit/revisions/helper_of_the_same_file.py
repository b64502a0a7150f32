"""Helper of the same file.

Revision ID: 0025dd20cc33
Revises:
"""

# It is: expand. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "0025dd20cc33"
down_revision = None
branch_labels = None
depends_on = None

def _add(table: str) -> None:
    op.add_column(table, sa.Column("updated_by", sa.Integer(), nullable=True))


def _remove(table: str) -> None:
    op.drop_column(table, "updated_by")


def upgrade() -> None:
    _add("users")
    _add("workflows")


def downgrade() -> None:
    _remove("workflows")
    _remove("users")
