"""Change type.

Revision ID: 0045c17da422
Revises:
"""

# It is: contract. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "0045c17da422"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("runs", "cost", existing_type=sa.Numeric(10, 2), type_=sa.Integer(), existing_nullable=True,
                    postgresql_using="round(cost)::integer")


def downgrade() -> None:
    op.alter_column("runs", "cost", existing_type=sa.Integer(), type_=sa.Numeric(10, 2))
