"""Back fill by constructs.

Revision ID: 008520afa58e
Revises:
"""

# It is: data. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "008520afa58e"
down_revision = None
branch_labels = None
depends_on = None

users = sa.table("users", sa.column("id", sa.Integer), sa.column("locale", sa.String))


def upgrade() -> None:
    op.execute(users.update().where(users.c.locale.is_(None)).values(locale="en"))


def downgrade() -> None:
    op.execute(users.update().values(locale=None))
