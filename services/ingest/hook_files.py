"""The webhooks of the sources: mappings read from `sources.yaml` and `hooks/*.yaml`, secrets from the environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import yaml
from dotenv import dotenv_values
from pydantic import ValidationError

from services.ingest.dialects import hooks
from services.ingest.dialects.dialect import Dialect
from services.ingest.dialects.mapping import kinds_of, mapping_of, merged
from services.ingest.signatures import signature_of
from shared.identifiers import IdentityRules
from shared.keys import Source

SHIPPED: Final = Path(__file__).parents[2] / "deploy" / "config" / "hooks"


def load_hooks(
    sources: Iterable[Source], config: Path, rules: IdentityRules, environment: Mapping[str, str],
    now: Callable[[], datetime],
) -> dict[str, Dialect]:  # fmt: skip
    """The dialect of each source that has a `hook`, by the source's name. ValueError in a sentence that names it."""
    found: dict[str, Dialect] = {}
    for source in sources:
        if source.hook is None:
            continue
        try:
            found[source.name] = _hook(source, written(source.hook, config), rules, environment, now)
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ValueError(f"the hook of source {source.name}: signature.{wrong}") from error
        except ValueError as error:
            raise ValueError(f"the hook of source {source.name}: {error}") from error
    return found


def environment() -> dict[str, str]:
    """The environment with what `.env` adds to it, as for settings."""
    return {name: value for name, value in {**dotenv_values(".env"), **os.environ}.items() if value is not None}


def written(hook: str | dict[str, Any], config: Path) -> dict[str, Any]:
    """A mapping as somebody wrote it: a ready one by its name, or one of its own, which may ``use`` a ready one and
    say only what is different."""
    if isinstance(hook, str):
        return ready(hook, config)
    own = {key: value for key, value in hook.items() if key != "use"}
    return merged(ready(str(hook["use"]), config), own) if "use" in hook else own


def ready(name: str, config: Path) -> dict[str, Any]:
    """The mapping `hooks/{name}.yaml` of the configuration, else the shipped one."""
    for folder in (config / "hooks", SHIPPED):
        path = folder / f"{name}.yaml"
        if Path(name).name == name and path.is_file():
            return _read(path)
    names = sorted({path.stem for folder in (config / "hooks", SHIPPED) for path in folder.glob("*.yaml")})
    raise ValueError(f"there is no mapping {name!r}; there are {', '.join(names)}")


def _read(path: Path) -> dict[str, Any]:
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {error}") from error
    if not isinstance(given, dict):
        raise ValueError(f"{path} is no mapping")
    return given


def _hook(
    source: Source, given: dict[str, Any], rules: IdentityRules, environment: Mapping[str, str],
    now: Callable[[], datetime],
) -> Dialect:  # fmt: skip
    if source.kind != "server":
        raise ValueError("webhooks are sent by servers: kind: server")
    mapping = mapping_of(given)
    unknown = kinds_of(mapping) - {*rules.kinds, *IdentityRules().kinds}
    if unknown:
        raise ValueError(f"ids: no kind {', '.join(sorted(unknown))}; kinds are {', '.join(rules.kinds)}")
    signed = given.get("signature")
    if signed is not None and not isinstance(signed, dict):
        raise ValueError("signature: {scheme: …, secret_env: …} is wanted, or nothing")
    if signed is None and not source.write_keys:
        raise ValueError("without a signature it needs write_keys, or anybody could send")
    return hooks.hook(source, mapping, signature_of(signed, environment) if signed is not None else None, now)
