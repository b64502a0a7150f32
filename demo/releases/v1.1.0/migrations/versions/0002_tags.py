"""Descriptions and tags.

Revision ID: b2e1d4c5f602
Revises: a1f0c3d2e401
"""

import sqlalchemy as sa
from alembic import op

revision = "b2e1d4c5f602"
down_revision = "a1f0c3d2e401"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workflows", sa.Column("description", sa.Text, nullable=True))
    op.create_table(
        "tags",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("workflow_id", sa.Integer, sa.ForeignKey("workflows.id"), nullable=False, index=True),
        sa.Column("word", sa.String(50), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("tags")
    op.drop_column("workflows", "description")
