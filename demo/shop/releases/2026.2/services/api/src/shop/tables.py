"""Tables, and the engine on which everything asks them."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from . import settings

metadata = sa.MetaData()
products = sa.Table(
    "products",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("cents", sa.Integer, nullable=False),
)
orders = sa.Table(
    "orders",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("product_id", sa.ForeignKey("products.id"), nullable=False),
    sa.Column("pieces", sa.Integer, nullable=False),
    sa.Column("note", sa.Text),
)
rounds = sa.Table(
    "rounds",
    metadata,
    sa.Column("worker", sa.Text, primary_key=True),
    sa.Column("build", sa.Text, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
)
engine = create_async_engine(settings.DATABASE_URL, pool_size=2, max_overflow=2, pool_pre_ping=True)
