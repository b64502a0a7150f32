"""Add generated column in sql.

Revision ID: 0101b91aa723
Revises:
"""

# It is: unknown. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "0101b91aa723"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE workflows ADD search tsvector GENERATED ALWAYS AS (to_tsvector('english', name)) STORED")


def downgrade() -> None:
    op.execute("ALTER TABLE workflows DROP search")
