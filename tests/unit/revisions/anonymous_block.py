"""Anonymous block.

Revision ID: 0098665e7db3
Revises:
"""

# It is: unknown. The way back: unknown.
from alembic import op
import sqlalchemy as sa

revision: str = "0098665e7db3"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        DO $$ BEGIN
            ALTER TABLE users DROP COLUMN nickname;
        EXCEPTION WHEN undefined_column THEN NULL;
        END $$;
        """
    )


def downgrade() -> None:
    op.execute("DO $$ BEGIN NULL; END $$")
