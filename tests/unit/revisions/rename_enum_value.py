"""Rename enum value.

Revision ID: 0062a6300376
Revises:
"""

# It is: contract. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "0062a6300376"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TYPE run_state RENAME VALUE 'done' TO 'finished'")


def downgrade() -> None:
    op.execute("ALTER TYPE run_state RENAME VALUE 'finished' TO 'done'")
