"""Create table with custom type.

Revision ID: 0004694b0b81
Revises:
"""

# It is: expand. The way back: lossy.
from alembic import op
import sqlalchemy as sa

revision: str = "0004694b0b81"
down_revision = None
branch_labels = None
depends_on = None

import sqlmodel
from fastapi_users_db_sqlalchemy.generics import GUID


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", GUID(), nullable=False),
        sa.Column("secret", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    op.drop_table("api_keys")
