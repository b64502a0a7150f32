"""Drop table.

Revision ID: 00314bc7d8d3
Revises:
"""

# It is: contract. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "00314bc7d8d3"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_table("sessions")


def downgrade() -> None:
    op.create_table("sessions", sa.Column("id", sa.Integer(), primary_key=True), sa.Column("data", sa.Text()))
