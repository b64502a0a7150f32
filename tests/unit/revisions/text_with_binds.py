"""Text with binds.

Revision ID: 0090749fd77b
Revises:
"""

# It is: data. The way back: noop.
from alembic import op
import sqlalchemy as sa

revision: str = "0090749fd77b"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    connection.execute(sa.text("UPDATE runs SET state = :new WHERE state = :old"), {"new": "done", "old": "finished"})


def downgrade() -> None:
    pass
