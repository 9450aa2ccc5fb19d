"""The journey map page in a real browser, over a real pipeline."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.support.browser import browser
from tests.support.pipeline import Pipeline

STEPS = ("Product List Viewed", "Product Viewed", "Product Added")


async def test_the_page_shows_the_journeys_that_are_under_way_and_follows_them_live(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "home")
    with pipeline.running():
        await pipeline.ready()
        async with pipeline.send() as client:
            for number in range(3):
                batch = [{"type": "track", "userId": f"u{number}", "event": step} for step in STEPS[: number + 1]]
                await client.post("/v1/batch", json={"batch": batch})
            await pipeline.ask_after("/v1/maps/shop/funnel", datetime.now(UTC).isoformat())
            with browser(tmp_path / "browser") as page:
                page.get(f"{pipeline.metrics}/?key=demo-read")
                wait = WebDriverWait(page, 60)
                wait.until(lambda driver: "consideration" in driver.find_element(By.TAG_NAME, "body").text.lower())
                wait.until(lambda driver: "67%" in text(driver))  # two of three looked at a product
                await client.post("/v1/track", json={"userId": "u9", "event": "Product List Viewed"})
                wait.until(lambda driver: "50%" in text(driver))  # two of four: the page follows by itself
                page.save_screenshot(str(tmp_path / "journey-map.png"))
                log: list[dict[str, str]] = page.get_log("browser")  # type: ignore[no-untyped-call]
                assert not [line for line in log if line["level"] == "SEVERE"]


def text(driver: object) -> str:
    found: str = driver.find_element(By.TAG_NAME, "body").text.replace("\u202f", "").replace(" ", "")  # type: ignore[attr-defined]
    return found
