"""Drop table for good.

Revision ID: 0032156c1fad
Revises:
"""

# It is: irreversible. The way back: irreversible.
from alembic import op
import sqlalchemy as sa

revision: str = "0032156c1fad"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_table("legacy_reports")


def downgrade() -> None:
    raise NotImplementedError("legacy_reports is gone for good")
