"""Drop by a helper.

Revision ID: 0066a068a559
Revises:
"""

# It is: contract. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "0066a068a559"
down_revision = None
branch_labels = None
depends_on = None

def drop_if_there(table: str, column: str) -> None:
    names = [entry["name"] for entry in sa.inspect(op.get_bind()).get_columns(table)]
    if column in names:
        op.drop_column(table, column)


def upgrade() -> None:
    drop_if_there("users", "legacy_id")


def downgrade() -> None:
    op.add_column("users", sa.Column("legacy_id", sa.Integer()))
