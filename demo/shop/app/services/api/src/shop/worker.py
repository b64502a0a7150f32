"""What works beside the web application: here it only says that it does, once a round."""

import asyncio
import contextlib
import signal
import socket

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from . import settings
from .tables import engine, rounds


async def once() -> None:
    values = {"worker": socket.gethostname(), "build": settings.BUILD, "at": sa.func.now()}
    statement = insert(rounds).values(**values)
    async with engine.begin() as connection:
        await connection.execute(statement.on_conflict_do_update(index_elements=["worker"], set_=values))


async def work() -> None:
    asked_to_stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked_to_stop.set)
    while not asked_to_stop.is_set():
        await once()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asked_to_stop.wait(), settings.WORKER_PAUSE)
    await engine.dispose()


def main() -> None:
    asyncio.run(work())
