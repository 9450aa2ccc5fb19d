"""Real histories through HTTP, on both logs: the answers equal figures computed elsewhere and by the slow model."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from shared.identifiers import IdentityRules
from shared.journey_map import JourneyMap
from shared.touchpoint import micros
from tests.support import datasets, slow_model
from tests.support.pipeline import ROOT, Pipeline, eventually

FURTHEST = [0, 2, 76, 81, 113, 328]  # rete_ecom.reference.json, for a map in which silence ends nothing


def config_with(folder: Path, *maps: JourneyMap) -> Path:
    """A configuration with these maps alone."""
    shutil.copytree(ROOT / "deploy" / "config", folder, ignore=shutil.ignore_patterns("*.yaml.bak"))
    for file in (folder / "maps").iterdir():
        file.unlink()
    for one in maps:
        (folder / "maps" / f"{one.map}-{one.version}.yaml").write_text(yaml.safe_dump(one.definition()))
    return folder


async def post(pipeline: Pipeline, calls: list[dict[str, Any]]) -> str:
    """Sends calls in batches; answers the moment after the last 200."""
    async with pipeline.send() as client:
        for start in range(0, len(calls), 500):
            answer = await client.post("/v1/batch", json={"batch": calls[start : start + 500]})
            assert answer.status_code == 200, answer.text
            assert answer.json()["rejected"] == []
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def figures(m: JourneyMap, journeys: list[dict[str, Any]]) -> dict[str, Any]:
    """The funnel as the slow model counts it, in the API's shape."""
    funnel = slow_model.funnel(m, journeys)
    funnel["journeys"]["value"] /= 1_000_000
    return funnel


def shown(answer: dict[str, Any]) -> dict[str, Any]:
    """Of a funnel's answer what the slow model says too."""
    fields = ("stage", "position", "reached", "entered", "conversion", "from_start", "left")
    stages = [{name: stage[name] for name in fields} for stage in answer["stages"]]
    return {"journeys": answer["journeys"], "stages": stages}


async def listed(pipeline: Pipeline, query: str) -> int:
    """How many journeys the list behind a count has, page by page."""
    found, cursor = 0, ""
    while True:
        page = await pipeline.ask(f"/v1/maps/shop/journeys?limit=1000{query}{cursor}")
        found += len(page["data"])
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


async def test_rete_ecom_comes_out_right_to_the_last_journey(tmp_path: Path, log: dict[str, str]) -> None:
    shop = datasets.journey_map("rete_ecom")
    forever = datasets.without_timeout(shop).model_copy(update={"map": "forever"})
    pipeline = Pipeline(tmp_path / "home", config_with(tmp_path / "config", shop, forever), log)
    model = slow_model.model(
        datasets.touchpoints("rete_ecom"), [], [shop, forever], IdentityRules(), micros(datetime.now(UTC))
    )
    journeys = slow_model.flat(model, shop)
    with pipeline.running():
        await pipeline.ready()
        sent = await post(pipeline, datasets.calls("rete_ecom"))

        whole = await pipeline.ask_after("/v1/maps/forever/funnel", sent)
        assert [sum(stage["left"].values()) for stage in whole["stages"]] == FURTHEST
        assert shown(whole) == figures(forever, slow_model.flat(model, forever))

        async def closed() -> Any:  # the clock closes imported history in batches
            funnel = await pipeline.ask("/v1/maps/shop/funnel")
            return None if funnel["journeys"]["open"] else funnel

        answer = await eventually(closed, 120)
        assert shown(answer) == figures(shop, journeys)

        paid = slow_model.chosen(journeys, acquisition="Paid Search")
        answer = await pipeline.ask("/v1/maps/shop/funnel?acquisition=Paid%20Search")
        assert shown(answer) == figures(shop, paid)
        for number, stage in enumerate(shop.stages):
            reached = answer["stages"][number]["reached"]
            assert await listed(pipeline, f"&acquisition=Paid%20Search&reached={stage.name}") == reached

        drop_off = await pipeline.ask("/v1/maps/shop/drop-off")
        assert [(one["lost"], one["entered"]) for one in drop_off["stages"]] == [
            (one["lost"], one["entered"]) for one in slow_model.drop_off(shop, journeys)
        ]

        months = await pipeline.ask("/v1/maps/shop/conversion?interval=month")
        expected = slow_model.conversion(shop, journeys, "month")
        assert {micros(datetime.fromisoformat(one["start"])): (one["started"], one["converted"], one["rate"])
                for one in months["series"] if one["started"]} == {
            start: (one["started"], one["converted"], one["rate"]) for start, one in expected.items()
        }  # fmt: skip

        transitions = await pipeline.ask("/v1/maps/shop/transitions")
        assert {(one["from"], one["to"]): one["count"] for one in transitions["transitions"] if one["count"]} == (
            slow_model.transitions(journeys)
        )


@pytest.mark.parametrize("name", [name for name in datasets.NAMES if name not in ("rete_ecom", "wiki_readers")])
async def test_the_other_sets_agree_with_the_slow_model(name: str, tmp_path: Path) -> None:
    m = datasets.journey_map(name)
    pipeline = Pipeline(tmp_path / "home", config_with(tmp_path / "config", m))
    model = slow_model.model(datasets.touchpoints(name), [], [m], IdentityRules(), micros(datetime.now(UTC)))
    with pipeline.running():
        await pipeline.ready()
        sent = await post(pipeline, datasets.calls(name))
        expected = figures(m, slow_model.flat(model, m))
        answer = await pipeline.ask_after(f"/v1/maps/{m.map}/funnel", sent)
        while answer["journeys"]["open"] > expected["journeys"]["open"]:
            answer = await pipeline.ask(f"/v1/maps/{m.map}/funnel")
        assert shown(answer) == expected


async def test_one_customer_is_told_with_his_evidence(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "home")
    with pipeline.running():
        await pipeline.ready()
        async with pipeline.send() as client:
            before = {"anonymousId": "a 1", "event": "Product Viewed", "messageId": "m1"}
            login = {"anonymousId": "a 1", "userId": "u1", "event": "Product Added", "messageId": "m2"}
            await client.post("/v1/batch", json={"batch": [before | {"type": "track"}, login | {"type": "track"}]})
        sent = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        profile = await pipeline.ask_after("/v1/maps/shop/funnel", sent) and await pipeline.ask(
            "/v1/profiles/anonymous_id:a%201"
        )
        assert profile["profile_id"] == (await pipeline.ask("/v1/profiles/user_id:u1"))["profile_id"]
        assert profile["journeys"]["shop"]["stage"] == "intent"
        async with httpx.AsyncClient(base_url=pipeline.ingest, headers={"authorization": "Bearer demo-read"}) as admin:
            link = {"lower": "anonymous_id:a 1", "higher": "user_id:u1", "reason": "a shared tablet"}
            revoked = await admin.post("/v1/revocations", json=link)
            assert revoked.status_code == 202
        sent = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        await pipeline.ask_after("/v1/maps/shop/funnel", sent)
        alone = await pipeline.ask("/v1/profiles/anonymous_id:a%201")
        assert alone["profile_id"] != profile["profile_id"]
        assert alone["journeys"]["shop"]["stage"] == "consideration"
