"""Create view.

Revision ID: 002096645aa7
Revises:
"""

# It is: expand. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "002096645aa7"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE VIEW recent_runs AS SELECT * FROM runs WHERE started_at > now() - interval '1 day'")


def downgrade() -> None:
    op.execute("DROP VIEW recent_runs")
