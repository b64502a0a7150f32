"""Drop database by a library.

Revision ID: 011105879ca2
Revises:
"""

# It is: unknown. The way back: noop.
from alembic import op
import sqlalchemy as sa

revision: str = "011105879ca2"
down_revision = None
branch_labels = None
depends_on = None

from sqlalchemy_utils import drop_database


def upgrade() -> None:
    drop_database(str(op.get_bind().engine.url) + "_old")


def downgrade() -> None:
    pass
