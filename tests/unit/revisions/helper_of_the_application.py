"""Helper of the application.

Revision ID: 0095c22fc539
Revises:
"""

# It is: unknown. The way back: unknown.
from alembic import op
import sqlalchemy as sa

revision: str = "0095c22fc539"
down_revision = None
branch_labels = None
depends_on = None

from app.db.audit import create_audit_triggers, drop_audit_triggers


def upgrade() -> None:
    create_audit_triggers(op, ["users", "runs"])


def downgrade() -> None:
    drop_audit_triggers(op, ["users", "runs"])
