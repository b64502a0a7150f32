"""Add foreign key.

Revision ID: 00579d3025d5
Revises:
"""

# It is: contract. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "00579d3025d5"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_foreign_key("fk_runs_owner", "runs", "users", ["owner_id"], ["id"])


def downgrade() -> None:
    op.drop_constraint("fk_runs_owner", "runs", type_="foreignkey")
