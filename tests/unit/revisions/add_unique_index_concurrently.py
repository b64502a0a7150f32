"""Add unique index concurrently.

Revision ID: 005580e4a375
Revises:
"""

# It is: contract. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "005580e4a375"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.create_index("uq_users_lower_email", "users", [sa.text("lower(email)")], unique=True, postgresql_concurrently=True)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index("uq_users_lower_email", table_name="users", postgresql_concurrently=True)
