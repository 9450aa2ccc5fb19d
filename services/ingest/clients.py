"""What SDKs ask before they send: settings of Segment, RudderStack and PostHog, and what they want to get rid of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Path, Request, Response

from services.ingest.sources import Sender, Senders, key_of

router = APIRouter(tags=["clients"])
Key = Annotated[str, Path(description="a write key", examples=["demo-write"])]
Endpoint = Callable[..., Any]

POSTHOG_CONFIG: Final[dict[str, Any]] = {  # everything of PostHog's that is not about touchpoints is switched off
    "supportedCompression": ["gzip", "gzip-js"],
    "analytics": {"endpoint": "/i/v0/e/"},
    "autocapture_opt_out": True,
    "capturePerformance": False,
    "captureDeadClicks": False,
    "autocaptureExceptions": False,
    "sessionRecording": False,
    "hasFeatureFlags": False,
    "heatmaps": False,
    "surveys": False,
    "siteApps": [],
}
POSTHOG_FLAGS: Final[dict[str, Any]] = {
    "flags": {}, "featureFlags": {}, "featureFlagPayloads": {}, "errorsWhileComputingFlags": False
}  # fmt: skip


def _either(
    path: str, methods: tuple[str, ...] = ("GET",), summary: str | None = None
) -> Callable[[Endpoint], Endpoint]:
    """A path with and without its trailing slash; without a summary it is an alias that no documentation names."""

    def register(endpoint: Endpoint) -> Endpoint:
        for slash in ("", "/"):
            shown = summary is not None and not slash
            router.add_api_route(path + slash, endpoint, methods=[*methods], summary=summary, include_in_schema=shown)
        return endpoint

    return register


def _sender(request: Request, key: str | None) -> Sender:
    senders: Senders = request.app.state.senders
    return senders.find(key)


@_either("/v1/projects/{key}/settings", summary="Settings of Segment's SDKs")
@_either("/projects/{key}/settings")
async def project_settings(request: Request, key: Key) -> dict[str, Any]:
    """Points the browser SDK back at us."""
    _sender(request, key)
    here = {"apiKey": key, "apiHost": f"{request.url.netloc}/v1", "protocol": request.url.scheme}
    return {
        "integrations": {"Segment.io": here},
        "metrics": {"sampleRate": 0},
        "plan": {},
        "legacyVideoPluginsEnabled": False,
    }


@_either("/v1/m", ("POST",), "Telemetry of Segment's SDKs: taken and forgotten")
async def sdk_telemetry() -> dict[str, bool]:
    """Nothing is kept of it."""
    return {"success": True}


@_either("/sourceConfig", summary="Configuration of RudderStack's SDKs")
async def source_config(request: Request) -> dict[str, Any]:
    """No destinations: they send everything to us. The key comes as Basic user, or as `?writeKey=`."""
    sender = _sender(request, key_of(dict(request.scope["headers"]), request.query_params, None))
    return {"source": {"id": sender.source.name, "enabled": True, "config": {}, "destinations": []}}


@_either("/array/{key}/config", summary="Configuration of PostHog's browser SDK")
async def posthog_config(request: Request, key: Key) -> dict[str, Any]:
    """Touchpoints only: no recordings, flags, surveys, heatmaps."""
    _sender(request, key)
    return POSTHOG_CONFIG


@_either("/array/{key}/config.js")
async def posthog_config_script(request: Request, key: Key) -> Response:
    """The same as a script."""
    _sender(request, key)
    name, config = (msgspec.json.encode(part).decode() for part in (key, POSTHOG_CONFIG))
    script = f"(window._POSTHOG_REMOTE_CONFIG ??= {{}})[{name}] = {{config: {config}, siteApps: []}};\n"
    return Response(script, media_type="text/javascript")


@_either("/flags", ("GET", "POST"), "Feature flags of PostHog's SDKs: there are none")
async def posthog_flags() -> dict[str, Any]:
    """So that SDKs which ask for them go on."""
    return POSTHOG_FLAGS


@_either("/decide", ("GET", "POST"))
async def posthog_decide() -> dict[str, Any]:
    """What older SDKs ask: configuration and flags in one."""
    return POSTHOG_CONFIG | POSTHOG_FLAGS
