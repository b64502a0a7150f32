"""Add column marked.

Revision ID: 002821ab1191
Revises:
"""

# It is: expand. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "002821ab1191"
down_revision = None
branch_labels = None
depends_on = None

# Read by two people: one nullable column.
floyo_class = "expand"


def upgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute("ALTER TABLE runs ADD COLUMN node inet")


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute("ALTER TABLE runs DROP COLUMN node")
