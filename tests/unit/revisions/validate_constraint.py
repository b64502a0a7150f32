"""Validate constraint.

Revision ID: 0022fca1b6a8
Revises:
"""

# It is: expand. The way back: noop.
from alembic import op
import sqlalchemy as sa

revision: str = "0022fca1b6a8"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE workflows VALIDATE CONSTRAINT fk_workflows_owner")


def downgrade() -> None:
    pass
