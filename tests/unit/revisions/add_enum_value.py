"""An older release may not know how to read it.

Revision ID: 0093479ac6be
Revises:
"""

# It is: unknown. The way back: noop.
from alembic import op
import sqlalchemy as sa

revision: str = "0093479ac6be"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("ALTER TYPE run_state ADD VALUE IF NOT EXISTS 'paused'")


def downgrade() -> None:
    pass
