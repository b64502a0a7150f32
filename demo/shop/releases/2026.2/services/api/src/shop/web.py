"""The web application."""

import sqlalchemy as sa
from fastapi import FastAPI, HTTPException
from sqlalchemy.exc import SQLAlchemyError

from . import settings
from .tables import engine, orders, products, rounds

application = FastAPI(title="Shop")


@application.get("/livez")
async def alive() -> dict:
    return {"condition": "pass", "build": settings.BUILD}


@application.get("/readyz")
async def ready() -> dict:
    try:
        async with engine.connect() as connection:
            await connection.execute(sa.select(1))
    except (OSError, SQLAlchemyError) as error:
        raise HTTPException(503, "the database does not answer") from error
    return {"condition": "pass", "parts": {"database": "pass"}}


@application.get("/products")
async def all_products() -> list:
    async with engine.connect() as connection:
        return [dict(row) for row in (await connection.execute(sa.select(products))).mappings()]


@application.post("/orders", status_code=201)
async def order(product_id: int, pieces: int = 1, note: str | None = None) -> dict:
    async with engine.begin() as connection:
        made = await connection.execute(
            sa.insert(orders).values(product_id=product_id, pieces=pieces, note=note).returning(orders.c.id)
        )
        return {"id": made.scalar_one()}


@application.get("/rounds")
async def all_rounds() -> list:
    async with engine.connect() as connection:
        return [dict(row) for row in (await connection.execute(sa.select(rounds))).mappings()]
