"""Notes to orders"""

import sqlalchemy as sa
from alembic import op

revision = "0d0002"
down_revision = "0d0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("orders", sa.Column("note", sa.Text, nullable=True))


def downgrade() -> None:
    op.drop_column("orders", "note")
