"""Shell.

Revision ID: 01152016c577
Revises:
"""

# It is: unknown. The way back: unknown.
from alembic import op
import sqlalchemy as sa

revision: str = "01152016c577"
down_revision = None
branch_labels = None
depends_on = None

import subprocess


def upgrade() -> None:
    subprocess.run(["psql", "-f", "drop.sql"], check=True)


def downgrade() -> None:
    subprocess.run(["psql", "-f", "create.sql"], check=True)
