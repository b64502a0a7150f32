"""Create function and sequence.

Revision ID: 0027447cacc7
Revises:
"""

# It is: expand. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "0027447cacc7"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE SEQUENCE ticket_numbers START 1000")
    op.execute(
        "CREATE FUNCTION next_ticket() RETURNS text LANGUAGE sql AS $$ SELECT 'T' || nextval('ticket_numbers') $$"
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION next_ticket()")
    op.execute(sa.schema.DropSequence(sa.Sequence("ticket_numbers")))
