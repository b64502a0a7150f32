"""Create schema and tables in it.

Revision ID: 0019c759cb09
Revises:
"""

# It is: expand. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "0019c759cb09"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sa.schema.CreateSchema("billing"))
    op.create_table("invoices", sa.Column("id", sa.Integer(), primary_key=True), schema="billing")
    op.create_unique_constraint("one_number", "invoices", ["id"], schema="billing")


def downgrade() -> None:
    op.drop_table("invoices", schema="billing")
    op.execute(sa.schema.DropSchema("billing"))
