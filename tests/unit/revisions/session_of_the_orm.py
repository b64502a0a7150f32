"""Session of the orm.

Revision ID: 00928ef0f77a
Revises:
"""

# It is: unknown. The way back: noop.
from alembic import op
import sqlalchemy as sa

revision: str = "00928ef0f77a"
down_revision = None
branch_labels = None
depends_on = None

from sqlalchemy.orm import Session

from app.models import User
from app.text import slugify


def upgrade() -> None:
    session = Session(bind=op.get_bind())
    for user in session.query(User).filter(User.slug.is_(None)):
        user.slug = slugify(user.name)
    session.commit()


def downgrade() -> None:
    pass
