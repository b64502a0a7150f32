"""Set not null.

Revision ID: 0048a30ebb0c
Revises:
"""

# It is: contract. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "0048a30ebb0c"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("users", "email", existing_type=sa.String(320), nullable=False)


def downgrade() -> None:
    op.alter_column("users", "email", existing_type=sa.String(320), nullable=True)
