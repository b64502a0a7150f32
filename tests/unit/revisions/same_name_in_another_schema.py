"""Makes archive.runs and changes public.runs.

Revision ID: 00784a93938d
Revises:
"""

# It is: contract. The way back: unknown.
from alembic import op
import sqlalchemy as sa

revision: str = "00784a93938d"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("runs", sa.Column("id", sa.Integer(), primary_key=True), schema="archive")
    op.add_column("runs", sa.Column("archived_by", sa.Integer(), nullable=False))


def downgrade() -> None:
    op.drop_table("runs", schema="archive")
