"""What a newcomer does: start it, send something, ask, stop it, start it again."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from pathlib import Path

import psutil

from tests.support.pipeline import Pipeline, eventually

TRACK = {"userId": "u1", "event": "Product Viewed", "messageId": "m1"}


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


async def test_run_takes_answers_stops_and_finds_its_data_again(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "home")
    with pipeline.running():
        await pipeline.ready()
        async with pipeline.send() as client:
            assert (await client.post("/v1/track", json=TRACK)).json() == {
                "success": True, "accepted": 1, "rejected": []
            }  # fmt: skip
        funnel = await pipeline.ask_after("/v1/maps/shop/funnel", now())
        assert funnel["journeys"]["started"] == 1
        assert pipeline.stop() == 0
    assert "demo-write" in pipeline.said
    assert f"{pipeline.ingest}/v1/track" in pipeline.said
    with pipeline.running():
        await pipeline.ready()
        assert (await pipeline.ask("/v1/maps/shop/funnel"))["journeys"]["started"] == 1
        assert (await pipeline.ask("/v1/profiles/user_id:u1"))["journeys"]["shop"]["stage"] == "consideration"


async def test_a_part_that_fails_stops_the_rest_with_its_reason(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "home")
    with pipeline.running():
        await pipeline.ready()
        assert pipeline.process is not None
        children = psutil.Process(pipeline.process.pid).children()
        stitcher = next(child for child in children if child.cmdline()[-1] == "services.stitcher")
        os.kill(stitcher.pid, signal.SIGKILL)
        assert pipeline.process.wait(timeout=40) == 1
    assert "stitcher ended with exit code -9" in pipeline.said
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


async def test_when_it_is_killed_its_parts_end_and_the_next_start_finds_the_data(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "home")
    with pipeline.running():
        await pipeline.ready()
        async with pipeline.send() as client:
            await client.post("/v1/track", json=TRACK)
        assert pipeline.process is not None
        children = psutil.Process(pipeline.process.pid).children()
        pipeline.process.kill()
        psutil.wait_procs(children, timeout=30)
        assert not [child for child in children if child.is_running()]
    with pipeline.running():
        await pipeline.ready()
        funnel = await pipeline.ask_after("/v1/maps/shop/funnel", now())
        assert funnel["journeys"]["started"] == 1
        assert pipeline.stop() == 0


async def test_a_port_that_is_taken_is_said_and_who_has_it_goes_on(tmp_path: Path) -> None:
    first, second = Pipeline(tmp_path / "home"), Pipeline(tmp_path / "home")
    with first.running():
        await first.ready()
        second.ports = first.ports
        with second.running():
            assert second.process is not None
            assert second.process.wait(timeout=40) == 1
        assert f"port {first.ports[0]} of ingest is in use" in second.said
        assert (await first.ask("/v1/maps/shop/funnel"))["journeys"]["started"] == 0


async def test_stopping_while_it_starts_leaves_nothing_behind(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "home")
    with pipeline.running():

        async def database_starts() -> bool:
            return (tmp_path / "home/postgres/password").exists()

        await eventually(database_starts)
        assert pipeline.stop() == 128 + signal.SIGTERM
    assert not (tmp_path / "home/postgres/data/postmaster.pid").exists()


async def test_a_wrong_configuration_is_said_in_a_sentence(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    pipeline = Pipeline(tmp_path / "home", config)
    with pipeline.running():
        assert pipeline.process is not None
        assert pipeline.process.wait(timeout=40) == 1
    assert "sources.yaml is missing" in pipeline.said
    assert "Traceback" not in pipeline.said


async def test_the_demo_brings_history_and_live_traffic(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "home")
    with pipeline.running("run", "--demo"):
        await pipeline.ready()

        async def busy() -> bool:
            funnel = await pipeline.ask("/v1/maps/shop/funnel?to=2024-12-31T00:00:00Z")
            now = await pipeline.ask("/v1/maps/shop/now")
            return funnel["journeys"]["started"] == 1084 and any(stage["open"] for stage in now["stages"])

        await eventually(busy, 120)
        assert pipeline.stop() == 0
