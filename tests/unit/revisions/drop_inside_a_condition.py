"""Drop inside a condition.

Revision ID: 0070cbdd3651
Revises:
"""

# It is: contract. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "0070cbdd3651"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    if sa.inspect(op.get_bind()).has_table("old_events"):
        op.drop_table("old_events")


def downgrade() -> None:
    op.create_table("old_events", sa.Column("id", sa.Integer()))
