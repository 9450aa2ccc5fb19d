"""Every figure that the dashboard, the rules and the alerts ask for is one that somebody tells."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from services.ingest.telemetry import Telemetry as Ingest
from services.metrics.telemetry import Telemetry as Metrics
from services.stitcher.telemetry import Telemetry as Stitcher
from shared.health import health_routes
from shared.reloading import ReloadGauges
from tests.deploy.promql import labels_of, metrics_of
from tests.deploy.stack import ROOT, services

PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "dashboards" / "throughline.json").read_text())
PROMETHEUS_OWN = {"up": set[str](), "ALERTS": {"alertname", "alertstate", "severity"}}
TARGET_LABELS = {"job", "instance", "le"}
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",), "info": ("_info",)}
ROWS = ["Traffic", "Lag and freshness", "Journeys by stage", "Errors", "Resources"]


def told() -> dict[str, set[str]]:
    """Every series that the services tell, with its labels."""
    series: dict[str, set[str]] = {}
    for telemetry in (Ingest(), Stitcher(), Metrics()):
        health_routes({}, telemetry.registry)
        ReloadGauges(telemetry.registry)
        series |= _series(telemetry.registry)
    return series


def _series(registry: CollectorRegistry) -> dict[str, set[str]]:
    labels = {
        one._name: set(one._labelnames)
        for one in registry._collector_to_names
        if isinstance(one, MetricWrapperBase)
    }  # fmt: skip
    return {
        family.name + suffix: labels.get(family.name, set())
        for family in registry.collect()
        for suffix in SUFFIXES[family.type]
    }


def rules(file: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / file).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def recorded() -> dict[str, set[str]]:
    """The series that our own rules make."""
    return {rule["record"]: labels_of(rule["expr"]) for rule in rules("rules.yml")}


def panels() -> Iterator[dict[str, Any]]:
    yield from (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def expressions() -> list[str]:
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    asked += [annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]]
    asked += [re.sub(r"label_values\((\w+), (\w+)\)", r"sum by (\2) (\1)", v["definition"]) for v in _variables()]
    return asked + [rule["expr"] for file in ("rules.yml", "alerts.yml") for rule in rules(file)]


def _variables() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = DASHBOARD["templating"]["list"]
    return found


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_asks_for_figures_that_somebody_tells(expression: str) -> None:
    known = told() | recorded() | PROMETHEUS_OWN
    asked = metrics_of(expression)
    assert asked
    assert asked.keys() <= known.keys()
    for name, labels in asked.items():
        assert labels <= known[name] | TARGET_LABELS, name
    assert labels_of(expression) <= set().union(*(known[name] for name in asked), TARGET_LABELS)


def test_every_figure_of_ours_is_shown_or_watched() -> None:
    asked = {name for expression in expressions() for name in metrics_of(expression)}
    ours = {name for name in told() if name.startswith("throughline_")}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in ours}
    assert families - {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked} == set()


def test_the_reading_of_expressions_sees_names_and_labels() -> None:
    expression = 'sum by (a) (rate(x_total{b="}", c!~"y"}[5m] offset 1h)) / on (d) group_left z:w and absent(up == 1)'
    assert metrics_of(expression) == {"x_total": {"b", "c"}, "z:w": set(), "up": set()}
    assert labels_of(expression) == {"a", "d"}


def test_labels_in_legends_and_alerts_are_there_to_be_named() -> None:
    for panel in panels():
        for target in panel["targets"]:
            named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            known = set().union(*((told() | recorded())[name] for name in metrics_of(target["expr"])))
            assert named <= known | TARGET_LABELS, panel["title"]


def test_promtool_finds_the_configuration_right() -> None:
    promtool("check", "config", str(PROMETHEUS / "prometheus.yml"))


def test_promtool_can_read_what_the_dashboard_asks(tmp_path: Path) -> None:
    asked = [target["expr"].replace("$__rate_interval", "1m") for panel in panels() for target in panel["targets"]]
    read = [{"record": f"asked:{place}", "expr": expression} for place, expression in enumerate(asked)]
    (tmp_path / "asked.yml").write_text(json.dumps({"groups": [{"name": "asked", "rules": read}]}))
    promtool("check", "rules", str(tmp_path / "asked.yml"))


def test_alerts_fire_when_they_should() -> None:
    promtool("test", "rules", str(ROOT / "tests" / "deploy" / "alerts.test.yml"))


def promtool(*arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_proved_to_fire_and_explained() -> None:
    proved = yaml.safe_load((ROOT / "tests" / "deploy" / "alerts.test.yml").read_text())["tests"]
    fired = {one["alertname"] for test in proved for one in test.get("alert_rule_test", []) if one["exp_alerts"]}
    alerts = {rule["alert"] for rule in rules("alerts.yml")}
    assert alerts == fired
    explained = re.findall(r"^### (\w+)$", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE)
    assert alerts == set(explained)


def test_prometheus_asks_each_service_at_its_port() -> None:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    asked = {
        name: target["port"] for job in config for target in job.get("dns_sd_configs", []) for name in target["names"]
    }
    stack = services()
    assert asked == {
        name: stack[name]["environment"][f"{name.upper()}_PORT"] for name in ("ingest", "stitcher", "metrics")
    }


def test_the_dashboard_has_its_rows_and_its_source() -> None:
    assert [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"] == ROWS
    source = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())
    used = {target["datasource"]["uid"] for panel in panels() for target in panel["targets"]}
    assert used == {source["datasources"][0]["uid"]}


def test_panels_do_not_overlap_and_have_ids_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_grafana_finds_the_dashboard_where_it_is_mounted() -> None:
    provider = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/throughline.yml").read_text())
    folder = provider["providers"][0]["options"]["path"]
    grafana = services()["grafana"]
    assert f"./deploy/grafana/dashboards:{folder}:ro" in grafana["volumes"]
    assert grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == f"{folder}/throughline.json"
