"""Change server default.

Revision ID: 0016f1cd23be
Revises:
"""

# It is: expand. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "0016f1cd23be"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("runs", "priority", server_default="5", existing_type=sa.Integer(), existing_nullable=False)


def downgrade() -> None:
    op.alter_column("runs", "priority", server_default="3", existing_type=sa.Integer(), existing_nullable=False)
