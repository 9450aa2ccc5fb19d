"""SQLAlchemy's ORM and a transaction for each touchpoint: the plain way to keep journeys, exactly once and queryable.

It knows stages and timeouts, but no late touchpoints, no anonymous history that joins later, and no rollups.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import datetime, timedelta
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared.touchpoint import TOUCHPOINTS

TIMEOUT = timedelta(days=30)
STAGES = {
    "Home Viewed": 0, "Promotion Viewed": 0, "Product Viewed": 1, "Products Searched": 1, "Product Added": 2,
    "Checkout Started": 3, "Order Completed": 4,
}  # fmt: skip


class Base(DeclarativeBase):
    """Tables of the baseline, beside ours."""


class Seen(Base):
    """A touchpoint that is in."""

    __tablename__ = "baseline_touchpoints"
    id: Mapped[str] = mapped_column(primary_key=True)
    customer: Mapped[str]
    data: Mapped[str]


class Customer(Base):
    """Whom an identifier is of."""

    __tablename__ = "baseline_customers"
    identifier: Mapped[str] = mapped_column(primary_key=True)
    customer: Mapped[str]


class Run(Base):
    """A journey."""

    __tablename__ = "baseline_journeys"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str] = mapped_column(index=True)
    stage: Mapped[int]
    furthest: Mapped[int]
    started_at: Mapped[str]
    last_at: Mapped[str]
    touchpoints: Mapped[int]


class Offset(Base):
    """Where a partition is to be read on."""

    __tablename__ = "baseline_offsets"
    partition: Mapped[int] = mapped_column(primary_key=True)
    next: Mapped[int]


async def take(session: AsyncSession, partition: int, offset: int, data: bytes) -> None:
    """One touchpoint within a transaction."""
    touchpoint = json.loads(data)
    position = await session.get(Offset, partition)
    if position is None:
        session.add(Offset(partition=partition, next=offset + 1))
    else:
        position.next = offset + 1
    if await session.get(Seen, touchpoint["id"]) is None:
        customer = await _customer(session, touchpoint["ids"])
        session.add(Seen(id=touchpoint["id"], customer=customer, data=data.decode()))
        await _advance(session, customer, touchpoint)


async def _customer(session: AsyncSession, ids: dict[str, str]) -> str:
    keys = [f"{kind}:{ids[kind]}" for kind in ("user_id", "anonymous_id") if kind in ids]
    for key in keys:
        known = await session.get(Customer, key)
        if known is None:
            session.add(Customer(identifier=key, customer=keys[0]))
        elif len(keys) > 1:
            known.customer = keys[0]
        else:
            return known.customer
    return keys[0]


async def _advance(session: AsyncSession, customer: str, touchpoint: dict[str, Any]) -> None:
    last = select(Run).where(Run.customer == customer).order_by(Run.id.desc()).limit(1)
    run = (await session.scalars(last)).first()
    at, stage = touchpoint["time"], STAGES[touchpoint["event"]]
    if run is None or datetime.fromisoformat(at) > datetime.fromisoformat(run.last_at) + TIMEOUT:
        new = {"stage": stage, "furthest": stage, "started_at": at, "last_at": at, "touchpoints": 1}
        session.add(Run(customer=customer, **new))
        return
    run.stage, run.furthest = stage, max(stage, run.furthest)
    run.last_at, run.touchpoints = max(at, run.last_at), run.touchpoints + 1


async def main(count: int) -> None:
    """Takes ``count`` touchpoints from the beginning of the log, then ends."""
    engine = create_async_engine(os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://", 1))
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    consumer = AIOKafkaConsumer(bootstrap_servers=os.environ["KAFKA_BOOTSTRAP_SERVERS"], enable_auto_commit=False)
    await consumer.start()
    partitions = range(int(os.environ["KAFKA_PARTITIONS"]))
    consumer.assign([TopicPartition(TOUCHPOINTS, partition) for partition in partitions])
    await consumer.seek_to_beginning()
    for _ in range(count):
        record = await consumer.getone()
        async with sessions.begin() as session:
            await take(session, record.partition, record.offset, record.value)
    await consumer.stop()
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
