"""Back fill row by row.

Revision ID: 0091f99c469b
Revises:
"""

# It is: unknown. The way back: noop.
from alembic import op
import sqlalchemy as sa

revision: str = "0091f99c469b"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    for row in connection.execute(sa.text("SELECT id, settings FROM workflows")).fetchall():
        connection.execute(
            sa.text("UPDATE workflows SET title = :title WHERE id = :id"), {"id": row.id, "title": row.settings["title"]}
        )


def downgrade() -> None:
    pass
