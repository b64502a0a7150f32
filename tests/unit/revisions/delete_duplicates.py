"""Delete duplicates.

Revision ID: 008963fe6ab3
Revises:
"""

# It is: irreversible. The way back: irreversible.
from alembic import op
import sqlalchemy as sa

revision: str = "008963fe6ab3"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("WITH d AS (SELECT max(id) AS id FROM users GROUP BY email HAVING count(*) > 1) DELETE FROM users USING d WHERE users.id = d.id")
