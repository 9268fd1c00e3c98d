"""An essay written with LangGraph's functional API: parallel tasks, a cache, retries, a review, and stored results."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from langgraph.cache.memory import InMemoryCache
from langgraph.func import entrypoint, task
from langgraph.types import CachePolicy, RetryPolicy, interrupt

from agents.models import load_chat_model

attempts: Counter[str] = Counter()


class Busy(RuntimeError):
    """The source is temporarily busy."""


@task(cache_policy=CachePolicy(ttl=300))  # type: ignore[arg-type]
async def outline(topic: str) -> list[str]:
    """Find the sections of a topic; cached over runs."""
    attempts[f"outline {topic}"] += 1
    said = await load_chat_model("google_genai/gemini-2.5-flash").ainvoke(f"outline of {topic}")
    return [f"{said.text} {number}" for number in (1, 2)]


@task(retry_policy=RetryPolicy(max_attempts=3, initial_interval=0.01, retry_on=Busy))  # type: ignore[arg-type]
async def draft(section: str) -> str:
    """Write a section from a source that is busy at first."""
    attempts[f"draft {section}"] += 1
    await asyncio.sleep(0)
    if attempts[f"draft {section}"] % 2:
        raise Busy(section)
    said = await load_chat_model("google_genai/gemini-2.5-flash").ainvoke(f"draft of {section}")
    return f"{said.text}"


@entrypoint(cache=InMemoryCache())
async def essay(topic: dict[str, Any], *, previous: dict[str, Any] | None = None) -> Any:
    """Write an essay, and count the essays of the thread."""
    sections: list[str] = await outline(topic["topic"])
    drafts: list[str] = await asyncio.gather(*(draft(section) for section in sections))  # type: ignore[arg-type]
    verdict = interrupt({"drafts": drafts, "question": "publish?"})
    number = (previous or {}).get("number", 0) + 1
    result = {"essay": " / ".join(drafts), "verdict": verdict, "number": number}
    return entrypoint.final(value=result, save={"number": number})
