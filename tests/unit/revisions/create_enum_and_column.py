"""Create enum and column.

Revision ID: 001582bad577
Revises:
"""

# It is: expand. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "001582bad577"
down_revision = None
branch_labels = None
depends_on = None

from sqlalchemy.dialects.postgresql import ENUM

state = ENUM("queued", "running", "done", name="run_state", create_type=False)


def upgrade() -> None:
    state.create(op.get_bind(), checkfirst=True)
    op.add_column("runs", sa.Column("state", state, nullable=True))


def downgrade() -> None:
    op.drop_column("runs", "state")
    state.drop(op.get_bind(), checkfirst=True)
