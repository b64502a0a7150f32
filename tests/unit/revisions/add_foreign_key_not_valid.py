"""Add foreign key not valid.

Revision ID: 0058df7d5eda
Revises:
"""

# It is: contract. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "0058df7d5eda"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_foreign_key(
        "fk_workflows_owner", "workflows", "users", ["owner_id"], ["id"], postgresql_not_valid=True
    )


def downgrade() -> None:
    op.drop_constraint("fk_workflows_owner", "workflows", type_="foreignkey")
