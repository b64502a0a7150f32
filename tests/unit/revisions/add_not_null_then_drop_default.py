"""The default only for the rows that are there: an older release can insert no more.

Revision ID: 00538b66e80a
Revises:
"""

# It is: contract. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "00538b66e80a"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("zone", sa.Text(), nullable=False, server_default=""))
    op.alter_column("runs", "zone", server_default=None)


def downgrade() -> None:
    op.drop_column("runs", "zone")
