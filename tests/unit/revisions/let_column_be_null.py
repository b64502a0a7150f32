"""Let column be null.

Revision ID: 0094ac8b5d73
Revises:
"""

# It is: unknown. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "0094ac8b5d73"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("users", "email", existing_type=sa.String(320), nullable=True)


def downgrade() -> None:
    op.alter_column("users", "email", existing_type=sa.String(320), nullable=False)
