"""Products"""

import sqlalchemy as sa
from alembic import op

revision = "ca0001"
down_revision = None
branch_labels = ("catalogue",)
depends_on = None


def upgrade() -> None:
    products = op.create_table(
        "products",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("cents", sa.Integer, nullable=False),
    )
    op.bulk_insert(products, [{"name": "Lamp", "cents": 4900}, {"name": "Chair", "cents": 12900}])


def downgrade() -> None:
    op.drop_table("products")
