"""Statement from a branch.

Revision ID: 011013e3b2dc
Revises:
"""

# It is: unknown. The way back: unknown.
from alembic import op
import sqlalchemy as sa

revision: str = "011013e3b2dc"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    statement = "COMMENT ON TABLE runs IS 'x'"
    if sa.inspect(op.get_bind()).has_table("old"):
        statement = "DROP TABLE old"
    op.execute(statement)


def downgrade() -> None:
    op.execute(open("down.sql").read())
