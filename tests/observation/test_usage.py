"""Usage of models by thread: while runs run, after rollbacks and deletions, by model and caller, with costs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from runstead.infra.prices.genai import GenaiPrices
from runstead.resources.usage import cost_of
from runstead.runtime.runs.types import ModelUsage

from .conftest import eventually, new_thread

SAID = {"messages": [{"role": "human", "content": "Hello"}]}


async def usage_of(http: httpx.AsyncClient, thread: str) -> Any:
    answer = await http.get(f"/threads/{thread}/usage")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_usage_is_the_sum_over_runs_by_caller_and_model(http: httpx.AsyncClient) -> None:
    thread = await new_thread(http)
    nothing = await usage_of(http, thread)
    assert (nothing["runs"], nothing["total"]["calls"], nothing["by_model"]) == (0, 0, [])
    for _ in range(2):
        await http.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "titled", "input": SAID})
    used = await usage_of(http, thread)
    assert (used["runs"], used["total"]["calls"]) == (2, 4)
    assert {name: one["calls"] for name, one in used["by_caller"].items()} == {"lead_agent": 2, "middleware": 2}
    assert {(one["model"], one["caller"]) for one in used["by_model"]} == {
        ("scripted", "lead_agent"),
        ("scripted", "middleware"),
    }
    assert used["cost"]["unpriced"] == ["scripted"]
    assert used["cost"]["usd"] is None
    first, _ = (await http.get(f"/threads/{thread}/runs")).json()
    completion = first["completion"]
    assert completion["total_tokens"] == completion["lead_agent_tokens"] + completion["middleware_tokens"]
    await http.delete(f"/threads/{thread}/runs/{first['run_id']}")
    assert (await usage_of(http, thread))["total"] == used["total"]


async def test_usage_is_visible_while_the_run_runs_and_outlives_a_rollback(
    http: httpx.AsyncClient, tmp_path: Path
) -> None:
    thread = await new_thread(http)
    given = {**SAID, "release": str(tmp_path / "release")}
    run = (await http.post(f"/threads/{thread}/runs", json={"assistant_id": "thinking", "input": given})).json()
    path = f"/threads/{thread}/runs/{run['run_id']}"

    async def counted() -> Any:
        return (await usage_of(http, thread))["total"]["calls"]

    assert await eventually(counted) == 1
    assert (await http.get(path)).json()["completion"]["llm_call_count"] == 1
    await http.post(f"{path}/cancel", params={"action": "rollback", "wait": True})
    assert (await http.get(path)).status_code == 404
    assert await counted() == 1


async def test_usage_of_all_threads_is_grouped_and_paged(http: httpx.AsyncClient) -> None:
    for graph in ("titled", "titled", "deep"):
        await http.post("/runs/wait", json={"assistant_id": graph, "input": SAID})
    today = datetime.now(UTC).date()
    whole = await usage_page(http)
    assert (whole["to"], whole["from"]) == (str(today), str(today - timedelta(days=29)))
    assert (whole["group_by"], len(whole["data"]), whole["has_more"]) == (["day"], 1, False)
    assert whole["total"] == {name: whole["data"][0][name] for name in whole["total"]}
    assert (whole["total"]["runs"], whole["cost"]["usd"], whole["cost"]["unpriced"]) == (3, None, ["scripted"])
    by_graph = await usage_page(http, group_by="graph,caller", limit=2)
    assert next((one["graph"], one["caller"]) for one in by_graph["data"]) == ("deep", "lead_agent")
    rest = await usage_page(http, group_by=["graph", "caller"], limit=100, offset=2)
    assert (by_graph["has_more"], rest["has_more"]) == (True, False)
    groups = by_graph["data"] + rest["data"]
    assert next(one for one in groups if (one["graph"], one["caller"]) == ("titled", "middleware"))["runs"] == 2
    assert sum(one["calls"] for one in groups) == whole["total"]["calls"]
    empty = await usage_page(http, **{"from": "2020-01-01", "to": "2020-01-31"}, group_by="model,user")
    assert (empty["data"], empty["total"]["runs"], empty["cost"]["usd"]) == ([], 0, None)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"group_by": "colour"}, "group_by: 'colour' is no dimension of usage; use some of day, tenant"),
        ({"from": "2026-02-01", "to": "2026-01-01"}, "from: 2026-02-01 is after to: 2026-01-01"),
        ({"from": "yesterday"}, "from: "),
        ({"limit": "1001"}, "limit: "),
    ],
)
async def test_invalid_question_about_usage_is_refused(
    http: httpx.AsyncClient, params: dict[str, str], words: str
) -> None:
    response = await http.get("/usage", params=params)
    assert response.status_code == 422
    assert words in response.json()["detail"]


async def usage_page(http: httpx.AsyncClient, **params: Any) -> Any:
    answer = await http.get("/usage", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_cost_of_long_prompts_goes_by_the_length_of_each_call() -> None:
    call = ModelUsage("gemini-2.5-pro", "google", "lead_agent", 1, 100_000, 1_000, 101_000)
    three, prices = call.plus(call).plus(call), GenaiPrices()
    assert (prices.cost(call) or 0) * 3 == prices.cost(three)
    long = replace(call, input_tokens=300_000)
    assert (prices.cost(long) or 0) > (prices.cost(three) or 0)


def test_cost_has_prices_of_known_models_and_names_the_others() -> None:
    known = ModelUsage("gpt-4o", "openai", "lead_agent", 1, 1_000, 100, 1_100, cache_read_tokens=500)
    cached = ModelUsage("claude-sonnet-4-5", "anthropic", "subagent", 1, 1_000, 100, 1_100, 200, 300)
    other = ModelUsage("scripted", "m", "middleware", 1, 1_000, 100, 1_100)
    cost = cost_of([known, cached, other], GenaiPrices())
    assert cost.unpriced == ("scripted",)
    assert cost.by_usage[2] is None
    assert cost.usd == sum(one for one in cost.by_usage if one is not None)
    assert cost.usd > Decimal("0.001")
    assert (cost.source or "").startswith("genai-prices ")
