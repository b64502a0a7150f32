"""Call a procedure.

Revision ID: 010729eb95cf
Revises:
"""

# It is: unknown. The way back: noop.
from alembic import op
import sqlalchemy as sa

revision: str = "010729eb95cf"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SELECT tidy_up_everything()")


def downgrade() -> None:
    pass
