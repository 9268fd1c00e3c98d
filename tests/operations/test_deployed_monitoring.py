"""Dashboard and alert rules of deploy/ use only metrics that a server has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families

ROOT: Final = Path(__file__).parents[2]
ALERTS: Final = ROOT / "deploy" / "alerts.yaml"
DASHBOARD: Final[dict[str, Any]] = json.loads((ROOT / "deploy" / "grafana.json").read_text())
RULES: Final[list[dict[str, Any]]] = [
    rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
]
OPERATIONS: Final = (ROOT / "docs" / "operations.md").read_text()


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in RULES)
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


def metrics_in(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:runstead|lg_api|process)_\w+", expression))


async def metrics_of(http: httpx.AsyncClient) -> set[str]:
    """The names of all samples that a server can have, also of those without a value yet."""
    found: set[str] = set()
    for family in text_string_to_metric_families((await http.get("/metrics")).text):
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        found |= {family.name + suffix for suffix in suffixes}
    return found


async def test_every_metric_in_dashboard_and_rules_exists(http: httpx.AsyncClient) -> None:
    known, used = await metrics_of(http), {name for one in expressions() for name in metrics_in(one)}
    assert used - known == set()
    assert len(used) > 25


async def test_every_metric_is_on_the_page_for_operators(http: httpx.AsyncClient) -> None:
    own = {name for name in await metrics_of(http) if name.startswith(("runstead_", "lg_api_"))}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) if "_seconds_" in name else name for name in own}
    assert {name for name in families if f"`{name}`" not in OPERATIONS} == set()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_is_explained(rule: dict[str, Any]) -> None:
    assert f"`{rule['alert']}`" in OPERATIONS
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]


def test_every_panel_has_a_place_and_a_source() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    for panel in DASHBOARD["panels"]:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel.get("targets", ()))


@pytest.mark.parametrize("command", [("check", "rules", str(ALERTS)), ("test", "rules", "alerts.test.yaml")])
def test_promtool_accepts_the_rules(command: tuple[str, ...]) -> None:
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("missing program: promtool; the Debian package prometheus has it")
    done = subprocess.run([promtool, *command], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
