"""The policies of all sources, with the files and the key that they need."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import yaml

from services.ingest.plan import BadPlan, Plan, compile_plan
from services.ingest.policy import Policy
from shared.keys import Source


def load_policies(sources: Iterable[Source], config: Path, hash_key: str | None) -> dict[str, Policy]:
    """A policy for each source, by its name; ValueError says what is wrong in a plain sentence."""
    return {source.name: load_policy(source, config, hash_key) for source in sources}


def load_policy(source: Source, config: Path, hash_key: str | None) -> Policy:
    """The policy of one source; ValueError says what is wrong in a plain sentence."""
    plan = load_plan(config / source.plan.file) if source.plan is not None else None
    return Policy(source, key=(hash_key or "").encode(), plan=plan)


def load_plan(path: Path) -> Plan:
    """A tracking plan from its file, YAML or JSON."""
    try:
        return compile_plan(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {error}") from error
    except BadPlan as error:
        raise ValueError(f"{path}: {error}") from error
