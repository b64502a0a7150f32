"""The new table stays behind after a downgrade.

Revision ID: 00769e964de7
Revises:
"""

# It is: contract. The way back: unknown.
from alembic import op
import sqlalchemy as sa

revision: str = "00769e964de7"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("runs_new", sa.Column("id", sa.BigInteger(), primary_key=True), sa.Column("state", sa.Text()))
    op.execute("INSERT INTO runs_new (id, state) SELECT id, state FROM runs")
    op.rename_table("runs", "runs_old")
    op.rename_table("runs_new", "runs")


def downgrade() -> None:
    op.rename_table("runs", "runs_new")
    op.rename_table("runs_old", "runs")
