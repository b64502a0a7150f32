"""Owners are written in lower case.

Revision ID: e5c7f9a38b04
Revises: b2e1d4c5f602
"""

from alembic import op

revision = "e5c7f9a38b04"
down_revision = "b2e1d4c5f602"
branch_labels = None
depends_on = None
# This release asks for owners in lower case, and works with others as long as it has to.
floyo_class = "contract"


def upgrade() -> None:
    op.execute("UPDATE workflows SET owner = lower(owner)")


def downgrade() -> None:
    raise NotImplementedError("how the owners were written before is not kept")
