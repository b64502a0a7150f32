"""Replace enum.

Revision ID: 0061ee2d5886
Revises:
"""

# It is: contract. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "0061ee2d5886"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TYPE run_state RENAME TO run_state_old")
    op.execute("CREATE TYPE run_state AS ENUM ('queued', 'done')")
    op.execute("ALTER TABLE runs ALTER COLUMN state TYPE run_state USING state::text::run_state")
    op.execute("DROP TYPE run_state_old")


def downgrade() -> None:
    op.execute("ALTER TYPE run_state ADD VALUE 'running'")
