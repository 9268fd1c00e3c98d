"""Usage of models by thread: while runs run, after rollbacks and deletions, by model and caller, with costs."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

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
