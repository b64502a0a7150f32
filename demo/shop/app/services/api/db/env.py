"""Runs migrations over the application's asynchronous driver."""

import asyncio

from alembic import context
from shop import settings
from shop.tables import metadata
from sqlalchemy import Connection, make_url, pool
from sqlalchemy.ext.asyncio import create_async_engine

OPTIONS = {"target_metadata": metadata, "version_table": "shop_revisions", "transaction_per_migration": True}


def migrate(connection: Connection) -> None:
    context.configure(connection=connection, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


async def online() -> None:
    engine = create_async_engine(settings.DATABASE_URL, poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


if context.is_offline_mode():
    name = make_url(settings.DATABASE_URL).get_backend_name()
    context.configure(dialect_name=name, literal_binds=True, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()
else:
    asyncio.run(online())
