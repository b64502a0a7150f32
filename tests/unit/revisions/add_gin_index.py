"""Add gin index.

Revision ID: 0014369e563d
Revises:
"""

# It is: expand. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "0014369e563d"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_workflows_search", "workflows", ["search"], unique=False, postgresql_using="gin"
    )


def downgrade() -> None:
    op.drop_index("ix_workflows_search", table_name="workflows", postgresql_using="gin")
