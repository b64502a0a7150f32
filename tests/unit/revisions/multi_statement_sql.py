"""Multi statement sql.

Revision ID: 0063e0433bcd
Revises:
"""

# It is: contract. The way back: unknown.
from alembic import op
import sqlalchemy as sa

revision: str = "0063e0433bcd"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        sa.text(
            """
            CREATE TABLE settings_new (key text PRIMARY KEY, value jsonb);
            INSERT INTO settings_new SELECT key, to_jsonb(value) FROM settings;
            DROP TABLE settings;
            ALTER TABLE settings_new RENAME TO settings;
            """
        )
    )


def downgrade() -> None:
    op.execute("ALTER TABLE settings ALTER COLUMN value TYPE text USING value #>> '{}'")
