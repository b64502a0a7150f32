"""All tables of the models.

Revision ID: 0102c711b4f8
Revises:
"""

# It is: unknown. The way back: unknown.
from alembic import op
import sqlalchemy as sa

revision: str = "0102c711b4f8"
down_revision = None
branch_labels = None
depends_on = None

from app.models import Base


def upgrade() -> None:
    Base.metadata.create_all(bind=op.get_bind())


def downgrade() -> None:
    Base.metadata.drop_all(bind=op.get_bind())
