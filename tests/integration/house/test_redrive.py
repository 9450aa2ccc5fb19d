"""Rejected, mended, redriven: what was refused gets on the log once, as if it had been taken the first time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from cryptography.fernet import Fernet

from services.ingest.app import build, permitted, the_edge
from services.ingest.settings import IngestSettings
from services.stitcher.letters import Letters
from services.stitcher.settings import StitcherSettings
from services.stitcher.store import open_pool
from services.stitcher.telemetry import Telemetry
from shared.eventlog.postgres import unpack
from shared.touchpoint import DAY, REJECTED, TOUCHPOINTS, Touchpoint
from tests.integration.stitcher.workers import Scene, scene
from tests.integration.stitcher.world import ask

SOURCES = "sources: [{name: shop, kind: server, write_keys: [shop-key]}]"
READERS = "readers: [{name: admin, keys: [admin-key], scopes: [admin]}]"
KIOSK = "placeholders: [kiosk]"  # so that whoever is called kiosk is nobody


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any) -> Path:
    """A configuration that rejects the user `kiosk`; the commands use it as well."""
    folder = tmp_path / "config"
    folder.mkdir()
    for name, text in (("sources", SOURCES), ("readers", READERS), ("identity", KIOSK)):
        (folder / f"{name}.yaml").write_text(text)
    monkeypatch.setenv("THROUGHLINE_CONFIG", str(folder))
    return folder


@asynccontextmanager
async def pipeline(
    database: str, config: Path, key: str | None = None
) -> AsyncIterator[tuple[Scene, httpx.AsyncClient]]:
    """Ingest and the dead letters' loop, on the embedded log."""
    settings = IngestSettings(database_url=database, throughline_config=config, throughline_deadletter_key=key)
    stitching = StitcherSettings(database_url=database, throughline_config=config, kafka_partitions=2)
    async with scene(stitching, []) as log, log.worker(topic=REJECTED):
        edge = the_edge()
        ingest = build(settings, permitted(settings, edge), edge=edge, appender=log.appender, checks={})
        transport = httpx.ASGITransport(ingest.front)
        async with httpx.AsyncClient(transport=transport, base_url="http://t", auth=("shop-key", "")) as client:
            yield log, client


async def on_the_log(database: str) -> list[Touchpoint]:
    rows = await ask(database, "select records from log_batches where topic = $1 order by base_offset", TOUCHPOINTS)
    return [msgspec.json.decode(record.value, type=Touchpoint) for (packed,) in rows for record in unpack(packed)]


def told(run: Callable[..., Any], *words: str) -> Any:
    return asyncio.to_thread(run, "deadletters", *words)


async def test_what_was_rejected_is_accepted_once_when_the_mistake_is_mended(
    database: str, config: Path, run: Any
) -> None:
    track = {"type": "track", "event": "Seen", "userId": "kiosk", "timestamp": "2026-11-23T10:00:00Z"}
    async with pipeline(database, config) as (log, client):
        batch = {"batch": [track | {"messageId": "m1"}, {"type": "nosuch"}], "context": {"channel": "store"}}
        assert (await client.post("/v1/batch", json=batch)).json()["accepted"] == 0
        assert (await client.post("/v1/track?writeKey=shop-key", json=track)).json()["accepted"] == 0
        pixel = {"event": "Opened", "userId": "kiosk", "messageId": "m2"}
        await client.get("/v1/pixel/track", params=pixel)
        event = {
            "event": "Clicked",
            "distinct_id": "kiosk",
            "uuid": "m3",
            "properties": {"$current_url": "https://a.b/"},
        }
        await client.post("/batch/", json={"api_key": "shop-key", "batch": [event]})
        await log.drained(REJECTED)

    mine = ("--source", "shop", "--reason", "identifier_missing")
    early = await told(run, "redrive", *mine)
    assert (early.exit_code, "4 rejected again: identifier_missing" in early.stdout) == (1, True)
    (config / "identity.yaml").write_text("")
    assert (await told(run, "redrive", *mine)).stdout.startswith("0 touchpoints")  # each once, unless --again
    would = await told(run, "redrive", *mine, "--again", "--dry-run")
    assert (would.stdout, await on_the_log(database)) == ("4 would be accepted\n", [])
    done = await told(run, "redrive", *mine, "--again")
    assert (done.exit_code, done.stdout) == (0, "4 touchpoints are on the log\n")
    [made] = [one for one in await on_the_log(database) if one.id not in ("m1", "m2", "m3")]
    await told(run, "redrive", *mine, "--again")

    touchpoints = await on_the_log(database)
    assert sorted(one.id for one in touchpoints) == sorted(["m1", "m2", "m3", made.id] * 2)
    received = dict(await ask(database, "select received_at, 1 from dead_letters"))
    by_id = {one.id: one for one in touchpoints}
    assert {one.event for one in touchpoints} == {"Seen", "Opened", "Clicked"}
    assert (by_id["m1"].channel, by_id["m1"].ids) == ("store", {"user_id": "kiosk"})
    assert all(int(one.received_at.timestamp() * 1e6 + 0.5) in received for one in touchpoints)
    outcomes = await ask(database, "select outcome, redriven_at is null from dead_letters order by reason, id")
    assert outcomes == [("accepted", False)] * 4 + [(None, True)]
    listed = (await told(run, "list", "--reason", "identifier_missing")).stdout.splitlines()
    assert all(": accepted" in line for line in listed)


async def test_what_dead_letters_hold_is_sealed_on_the_log_and_in_the_table(
    database: str, config: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = Fernet.generate_key().decode()
    secret = {"type": "track", "event": "Seen", "userId": "kiosk", "messageId": "m1", "properties": {"who": "Jo Doe"}}
    async with pipeline(database, config, key) as (log, client):
        await client.post("/v1/batch", json={"batch": [secret], "context": {"city": "Ulm"}})
        await log.drained(REJECTED)
    [(data, request, sealed)] = await ask(database, "select data, request, sealed from dead_letters")
    rows = await ask(database, "select records from log_batches where topic = $1", REJECTED)
    for at_rest in (data, request.encode(), *(record.value for (packed,) in rows for record in unpack(packed))):
        assert b"Jo Doe" not in at_rest
        assert b"Ulm" not in at_rest
    assert sealed
    assert "sealed" in (await told(run, "show", "1")).stderr
    left = await told(run, "redrive", "--id", "1")
    assert (left.exit_code, "1 left as they are: sealed" in left.stdout) == (1, True)
    monkeypatch.setenv("THROUGHLINE_DEADLETTER_KEY", f"{Fernet.generate_key().decode()},{key}")
    assert json.loads((await told(run, "show", "1")).stdout.splitlines()[1]) == secret
    (config / "identity.yaml").write_text("")
    assert (await told(run, "redrive", "--id", "1")).exit_code == 0
    [one] = await on_the_log(database)
    assert (one.properties, one.context["city"]) == ({"who": "Jo Doe"}, "Ulm")


async def test_a_redrive_says_which(run: Any) -> None:
    assert (await told(run, "redrive")).exit_code == 2
    assert (await told(run, "list", "--since", "soon")).exit_code == 2


LETTER = """
    insert into dead_letters (at, topic, partition, "offset", source, reason, message, data)
    select n * 86400000000::bigint, 'touchpoints.rejected', 0, n, 'shop', 'too_deep', '', repeat('x', 1000)::bytea
    from generate_series(1, 10) n
"""
COUNTED = "insert into dead_letter_counts values ('touchpoints.rejected', 'shop', 'too_deep', 10, 10, 10000)"


@pytest.mark.parametrize(
    ("days", "most", "left"), [(99, 10_000, 10), (4, 10_000, 5), (99, 4_500, 4), (4, 2_000, 2), (0.001, 1, 0)]
)
async def test_the_oldest_dead_letters_go_first(database: str, days: float, most: int, left: int) -> None:
    pool = await open_pool(database, statement_seconds=20, idle_seconds=20)
    telemetry = Telemetry()
    for statement in (LETTER, COUNTED):
        await pool.execute(statement)
    await Letters(pool, telemetry, days, most).sweep(10 * DAY)
    assert [row["offset"] for row in await pool.fetch('select "offset" from dead_letters order by id')] == list(
        range(11 - left, 11)
    )
    assert tuple(await pool.fetchrow("select n, kept, bytes from dead_letter_counts")) == (10, left, left * 1000)
    gone = sum(
        telemetry.registry.get_sample_value("throughline_stitcher_dead_letters_expired_total", {"limit": limit}) or 0
        for limit in ("age", "size")
    )
    assert gone == 10 - left
    await pool.close()
