"""FastAPI, pydantic, and a `send_and_wait` for each touchpoint: the plain way to put touchpoints on Kafka."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from aiokafka import AIOKafkaProducer
from fastapi import FastAPI
from pydantic import BaseModel

from shared.touchpoint import TOUCHPOINTS


class Call(BaseModel):
    """A Segment call."""

    type: str = "track"
    messageId: str
    event: str | None = None
    timestamp: datetime | None = None
    userId: str | None = None
    anonymousId: str | None = None
    properties: dict[str, Any] = {}
    context: dict[str, Any] = {}


class Envelope(BaseModel):
    """A batch."""

    batch: list[Call]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.producer = AIOKafkaProducer(
        bootstrap_servers=os.environ["KAFKA_BOOTSTRAP_SERVERS"], acks="all", enable_idempotence=True
    )
    await app.state.producer.start()
    yield
    await app.state.producer.stop()


app = FastAPI(lifespan=lifespan)


async def _send(call: Call) -> None:
    key = (call.userId or call.anonymousId or "").encode()
    await app.state.producer.send_and_wait(TOUCHPOINTS, call.model_dump_json().encode(), key=key)


@app.post("/v1/track")
async def track(call: Call) -> dict[str, bool]:
    await _send(call)
    return {"success": True}


@app.post("/v1/batch")
async def batch(envelope: Envelope) -> dict[str, bool]:
    for call in envelope.batch:
        await _send(call)
    return {"success": True}


@app.get("/healthz")
async def healthz() -> dict[str, bool]:
    return {"alive": True}
