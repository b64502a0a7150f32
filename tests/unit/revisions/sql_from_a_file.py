"""Sql from a file.

Revision ID: 00971ac3b2e4
Revises:
"""

# It is: unknown. The way back: unknown.
from alembic import op
import sqlalchemy as sa

revision: str = "00971ac3b2e4"
down_revision = None
branch_labels = None
depends_on = None

from pathlib import Path


def upgrade() -> None:
    op.execute((Path(__file__).parent / "sql" / "0042_up.sql").read_text())


def downgrade() -> None:
    op.execute((Path(__file__).parent / "sql" / "0042_down.sql").read_text())
