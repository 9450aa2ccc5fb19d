"""The compose file as values: what the tests of the deployment look at."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import yaml

from services.ingest.settings import IngestSettings
from services.metrics.settings import MetricsSettings
from services.stitcher.settings import StitcherSettings
from shared.settings import Settings

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final = ROOT / "docker-compose.yml"
OURS: Final[dict[str, type[Settings]]] = {
    "migrate": Settings,
    "ingest": IngestSettings,
    "stitcher": StitcherSettings,
    "metrics": MetricsSettings,
}
_VARIABLE: Final = re.compile(r"\$\{(\w+):-([^}]*)\}")


def services() -> dict[str, Any]:
    """The services of the compose file, by name."""
    services: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return services


def variables() -> set[str]:
    """The names that the compose file takes from `.env`."""
    return {name for name, _ in _VARIABLE.findall(COMPOSE.read_text())}


def environment(service: str) -> dict[str, str]:
    """What a container of this service gets when there is no `.env`."""
    return {name: with_defaults(str(value)) for name, value in services()[service].get("environment", {}).items()}


def with_defaults(text: str) -> str:
    return _VARIABLE.sub(lambda found: found[2], text)


def settings(service: str) -> Settings:
    """The settings of one of our services as it reads them in its container."""
    told: dict[str, Any] = {name.lower(): value for name, value in environment(service).items()}
    return OURS[service](_env_file=None, **told)


def names_of_settings() -> set[str]:
    return {name.upper() for kind in OURS.values() for name in kind.model_fields}
