"""Add foreign key not valid in sql.

Revision ID: 0059b7c83c92
Revises:
"""

# It is: contract. The way back: clean.
from alembic import op
import sqlalchemy as sa

revision: str = "0059b7c83c92"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE workflows ADD CONSTRAINT fk_workflows_owner FOREIGN KEY (owner_id) REFERENCES users (id) NOT VALID"
    )


def downgrade() -> None:
    op.execute("ALTER TABLE workflows DROP CONSTRAINT fk_workflows_owner")
