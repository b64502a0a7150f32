"""Comments.

Revision ID: 00211de11922
Revises:
"""

# It is: expand. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "00211de11922"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table_comment("users", "Whoever may sign in", existing_comment=None)
    op.alter_column("users", "email", comment="lower case", existing_type=sa.String(320), existing_nullable=False)


def downgrade() -> None:
    op.drop_table_comment("users", existing_comment="Whoever may sign in")
    op.alter_column("users", "email", comment=None, existing_type=sa.String(320), existing_nullable=False)
