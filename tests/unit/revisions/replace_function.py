"""Replace function.

Revision ID: 0104d1a8adca
Revises:
"""

# It is: unknown. The way back: unknown.
from alembic import op
import sqlalchemy as sa

revision: str = "0104d1a8adca"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE OR REPLACE FUNCTION price(int) RETURNS int LANGUAGE sql AS 'SELECT $1 * 2'")


def downgrade() -> None:
    op.execute("CREATE OR REPLACE FUNCTION price(int) RETURNS int LANGUAGE sql AS 'SELECT $1'")
