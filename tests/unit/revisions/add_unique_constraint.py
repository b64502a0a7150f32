"""Add unique constraint.

Revision ID: 005442901582
Revises:
"""

# It is: contract. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "005442901582"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_unique_constraint("uq_workflows_name", "workflows", ["owner_id", "name"])


def downgrade() -> None:
    op.drop_constraint("uq_workflows_name", "workflows", type_="unique")
