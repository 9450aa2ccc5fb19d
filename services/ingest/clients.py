"""What SDKs ask before they send: Segment's settings, and the telemetry that they want to get rid of."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from services.ingest.sources import Senders

router = APIRouter(tags=["clients"])
Key = Annotated[str, Path(description="a write key", examples=["demo-write"])]


@router.get("/v1/projects/{key}/settings", summary="Settings of Segment's SDKs")
@router.get("/projects/{key}/settings", include_in_schema=False)
async def project_settings(request: Request, key: Key) -> dict[str, Any]:
    """Points the browser SDK back at us."""
    senders: Senders = request.app.state.senders
    senders.find(key)
    here = {"apiKey": key, "apiHost": f"{request.url.netloc}/v1", "protocol": request.url.scheme}
    return {
        "integrations": {"Segment.io": here},
        "metrics": {"sampleRate": 0},
        "plan": {},
        "legacyVideoPluginsEnabled": False,
    }


@router.post("/v1/m", summary="Telemetry of Segment's SDKs: taken and forgotten")
async def sdk_telemetry() -> dict[str, bool]:
    """Nothing is kept of it."""
    return {"success": True}
