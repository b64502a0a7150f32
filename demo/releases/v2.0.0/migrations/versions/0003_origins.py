"""When a workflow was made moves out of the table that is read all the time.

Revision ID: d4b8f6a26e03
Revises: b2e1d4c5f602
"""

import sqlalchemy as sa
from alembic import op

revision = "d4b8f6a26e03"
down_revision = "b2e1d4c5f602"
branch_labels = None
depends_on = None
# Releases before this one read the column. This one does not, so it runs before and after.
floyo_class = "contract"


def upgrade() -> None:
    op.create_table(
        "workflow_origins",
        sa.Column("workflow_id", sa.Integer, sa.ForeignKey("workflows.id"), primary_key=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.execute("INSERT INTO workflow_origins (workflow_id, created_at) SELECT id, created_at FROM workflows")
    with op.batch_alter_table("workflows") as table:
        table.drop_column("created_at")


def downgrade() -> None:
    with op.batch_alter_table("workflows") as table:
        table.add_column(
            sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())
        )
    op.execute(
        "UPDATE workflows SET created_at = coalesce((SELECT o.created_at FROM workflow_origins o"
        " WHERE o.workflow_id = workflows.id), created_at)"
    )
    op.drop_table("workflow_origins")
