"""Create association table.

Revision ID: 0002cf9e5455
Revises:
"""

# It is: expand. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "0002cf9e5455"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "workflow_tags",
        sa.Column("workflow_id", sa.Integer(), sa.ForeignKey("workflows.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("tag_id", sa.Integer(), sa.ForeignKey("tags.id", ondelete="CASCADE"), primary_key=True),
    )


def downgrade() -> None:
    op.drop_table("workflow_tags")
