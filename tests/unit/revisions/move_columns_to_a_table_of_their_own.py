"""Move columns to a table of their own.

Revision ID: 007734c47d97
Revises:
"""

# It is: contract. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "007734c47d97"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "profiles",
        sa.Column("user_id", sa.Integer(), sa.ForeignKey("users.id"), primary_key=True),
        sa.Column("bio", sa.Text()),
    )
    op.execute("INSERT INTO profiles (user_id, bio) SELECT id, bio FROM users")
    op.drop_column("users", "bio")


def downgrade() -> None:
    op.add_column("users", sa.Column("bio", sa.Text()))
    op.execute("UPDATE users SET bio = p.bio FROM profiles p WHERE p.user_id = users.id")
    op.drop_table("profiles")
