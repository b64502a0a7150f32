"""Search path.

Revision ID: 01083b2101c7
Revises:
"""

# It is: unknown. The way back: unknown.
from alembic import op
import sqlalchemy as sa

revision: str = "01083b2101c7"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET search_path TO archive")
    op.execute("CREATE TABLE old_runs (id int)")


def downgrade() -> None:
    op.execute("DROP TABLE archive.old_runs")
