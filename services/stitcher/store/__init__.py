"""The tables in PostgreSQL: one transaction at a time (`Store.unit`), and what stands around it."""

from services.stitcher.store.pool import open_pool
from services.stitcher.store.store import Store
from services.stitcher.store.unit import PostgresUnit

__all__ = ["PostgresUnit", "Store", "open_pool"]
