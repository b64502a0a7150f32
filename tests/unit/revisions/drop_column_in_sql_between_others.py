"""Drop column in sql between others.

Revision ID: 00396e6ad5ae
Revises:
"""

# It is: contract. The way back: unknown.
from alembic import op
import sqlalchemy as sa

revision: str = "00396e6ad5ae"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE runs ADD COLUMN a int, DROP COLUMN b, ADD COLUMN c int")


def downgrade() -> None:
    op.execute("ALTER TABLE runs ADD COLUMN b int")
