"""Old table behind if not exists.

Revision ID: 00794e71fffe
Revises:
"""

# It is: contract. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "00794e71fffe"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("runs", sa.Column("id", sa.Integer(), primary_key=True), if_not_exists=True)
    op.alter_column("runs", "owner_id", nullable=False)


def downgrade() -> None:
    op.drop_table("runs", if_exists=True)
