"""Create table in sql.

Revision ID: 0018535c977d
Revises:
"""

# It is: expand. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "0018535c977d"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE audit_log (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            at timestamptz NOT NULL DEFAULT now(),
            what text NOT NULL  -- DROP TABLE users; is what people try
        );
        CREATE INDEX audit_log_at ON audit_log (at);
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE audit_log")
