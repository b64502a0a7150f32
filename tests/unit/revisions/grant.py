"""Grant.

Revision ID: 00306d62a020
Revises:
"""

# It is: expand. The way back: noop.
from alembic import op
import sqlalchemy as sa

revision: str = "00306d62a020"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reporting")


def downgrade() -> None:
    pass
