"""Workflows and their runs, with some to begin with.

Revision ID: a1f0c3d2e401
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "a1f0c3d2e401"
down_revision = None
branch_labels = None
depends_on = None
# The rows go into tables that this revision makes: nothing that runs can notice.
floyo_class = "expand"


def upgrade() -> None:
    workflows = op.create_table(
        "workflows",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(200), nullable=False, unique=True),
        sa.Column("owner", sa.String(100), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )
    runs = op.create_table(
        "runs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("workflow_id", sa.Integer, sa.ForeignKey("workflows.id"), nullable=False, index=True),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
    )
    people = ("ada", "grace", "linus", "margaret")
    op.bulk_insert(workflows, [{"name": f"workflow {n:03}", "owner": people[n % 4]} for n in range(1, 201)])
    op.bulk_insert(
        runs,
        [
            {"workflow_id": n % 200 + 1, "state": "failed" if n % 17 == 0 else "done", "seconds": n % 97 / 7}
            for n in range(2000)
        ],
    )


def downgrade() -> None:
    op.drop_table("runs")
    op.drop_table("workflows")
