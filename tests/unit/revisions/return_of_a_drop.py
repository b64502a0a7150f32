"""Return of a drop.

Revision ID: 00717dcd2621
Revises:
"""

# It is: contract. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "00717dcd2621"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    bind = op.get_bind()
    if bind.dialect.name != "postgresql":
        return None
    return op.drop_column("users", "legacy_id")


def downgrade() -> None:
    op.add_column("users", sa.Column("legacy_id", sa.Integer()))
