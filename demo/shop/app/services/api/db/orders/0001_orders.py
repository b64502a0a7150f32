"""Orders, and the rounds of the worker"""

import sqlalchemy as sa
from alembic import op

revision = "0d0001"
down_revision = None
branch_labels = ("orders",)
depends_on = "ca0001"


def upgrade() -> None:
    op.create_table(
        "orders",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("product_id", sa.Integer, sa.ForeignKey("products.id"), nullable=False),
        sa.Column("pieces", sa.Integer, nullable=False),
    )
    op.create_table(
        "rounds",
        sa.Column("worker", sa.Text, primary_key=True),
        sa.Column("build", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("rounds")
    op.drop_table("orders")
