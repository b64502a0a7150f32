"""Create trigger.

Revision ID: 0105b571f123
Revises:
"""

# It is: unknown. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "0105b571f123"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TRIGGER stamp BEFORE UPDATE ON runs FOR EACH ROW EXECUTE FUNCTION stamp()")


def downgrade() -> None:
    op.execute("DROP TRIGGER stamp ON runs")
