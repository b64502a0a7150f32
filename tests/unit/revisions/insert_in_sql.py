"""Insert in sql.

Revision ID: 008857afb6e0
Revises:
"""

# It is: data. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "008857afb6e0"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("INSERT INTO plans (name) VALUES ('team') ON CONFLICT DO NOTHING")


def downgrade() -> None:
    op.execute("DELETE FROM plans WHERE name = 'team'")
