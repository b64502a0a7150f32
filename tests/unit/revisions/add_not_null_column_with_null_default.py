"""Add not null column with null default.

Revision ID: 0052425c2c54
Revises:
"""

# It is: contract. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "0052425c2c54"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("region", sa.String(20), nullable=False, server_default=sa.text("NULL")))


def downgrade() -> None:
    op.drop_column("runs", "region")
