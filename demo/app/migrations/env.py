"""Runs migrations on DATABASE_URL, each in a transaction of its own."""

from __future__ import annotations

import os

import sqlalchemy as sa
from alembic import context

settings = {"transaction_per_migration": True, "compare_type": True}

if context.is_offline_mode():
    dialect = sa.make_url(os.environ["DATABASE_URL"]).get_backend_name()
    context.configure(dialect_name=dialect, literal_binds=True, **settings)
    with context.begin_transaction():
        context.run_migrations()
else:
    engine = sa.create_engine(os.environ["DATABASE_URL"], poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection, **settings)
        with context.begin_transaction():
            context.run_migrations()
