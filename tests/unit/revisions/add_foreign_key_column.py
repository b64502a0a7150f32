"""Add foreign key column.

Revision ID: 00107b079cc8
Revises:
"""

# It is: expand. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "00107b079cc8"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workflows", sa.Column("team_id", sa.Integer(), sa.ForeignKey("teams.id"), nullable=True))


def downgrade() -> None:
    op.drop_column("workflows", "team_id")
