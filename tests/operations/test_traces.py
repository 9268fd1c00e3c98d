"""Traces: one trace from a request to the attempts of its run, with the spans of models and tools inside."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from typing_extensions import TypedDict

from runstead import Application
from runstead.bootstrap.unsupported import UnsupportedConfiguration
from runstead.graphs.scripted import ScriptedChatModel, turns
from tests.servers.sqlite import current_data

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


class State(TypedDict, total=False):
    kind: str


def _act(state: State) -> Any:
    if state["kind"] == "fails":
        raise ValueError("the secret is 4711")
    return {"kind": interrupt("really?")} if state["kind"] == "asks" else {}


@tool
def pay(amount: int) -> str:
    """Pay an amount."""
    return f"paid {amount}"


@pytest.fixture(scope="module")
def provider() -> TracerProvider:
    """The provider of this process, which can be set once."""
    found = trace.get_tracer_provider()
    if not isinstance(found, TracerProvider):
        found = TracerProvider()
        trace.set_tracer_provider(found)
    return found


@pytest.fixture
def spans(provider: TracerProvider) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    processor = SimpleSpanProcessor(exporter)
    provider.add_span_processor(processor)
    yield exporter
    exporter.shutdown()


def application_of(data_dir: Path, graph: Any, **options: Any) -> Application:
    data = current_data(data_dir)
    return Application({"agent": graph}, port=0, data_dir=data, shutdown_grace_seconds=0.1, traces=True, **options)


def client_of(application: Application) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(application.asgi), base_url="http://localhost")


def acting() -> Any:
    return StateGraph(State).add_node("act", _act).add_edge(START, "act").compile()


def paying() -> Any:
    call = {"name": "pay", "args": {"amount": 4711}, "id": "call-1", "type": "tool_call"}
    script = turns(AIMessage("", tool_calls=[call]), AIMessage("It is paid."))
    return create_agent(ScriptedChatModel(script=script), [pay], name="payer")


async def run_once(http: httpx.AsyncClient, thread: str, parent: str = PARENT, **body: Any) -> None:
    body = {"assistant_id": "agent", **body}
    answer = await http.post(f"/threads/{thread}/runs/wait", json=body, headers={"traceparent": parent}, timeout=60)
    assert answer.status_code == 200, answer.text


async def new_thread(http: httpx.AsyncClient) -> str:
    thread: str = (await http.post("/threads", json={})).json()["thread_id"]
    return thread


def named(spans: InMemorySpanExporter, name: str) -> ReadableSpan:
    (found,) = [span for span in spans.get_finished_spans() if span.name == name]
    return found


def parent_of(span: ReadableSpan) -> int:
    assert span.parent is not None
    return int(span.parent.span_id)


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


async def test_request_queue_attempt_agent_and_tool_are_one_trace(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    application = application_of(tmp_path / "data", paying(), trace_level="all")
    async with application.running(), client_of(application) as http:
        thread = await new_thread(http)
        spans.clear()
        await run_once(http, thread, input={"messages": [{"role": "human", "content": "pay 4711"}]})
    request = named(spans, "POST /threads/{thread_id}/runs/wait")
    queue, attempt = named(spans, "queue agent"), named(spans, "run agent")
    agent, paid = named(spans, "invoke_agent payer"), named(spans, "execute_tool pay")
    ours = [request, queue, attempt, agent, paid]
    assert {format(span.context.trace_id, "032x") for span in ours if span.context} == {TRACE}
    assert format(parent_of(request), "016x") == PARENT.split("-")[2]
    assert parent_of(queue) == parent_of(attempt) == id_of(request)
    assert parent_of(agent) == id_of(attempt)
    attributes = dict(attempt.attributes or {})
    assert attributes["runstead.run.attempt"] == 1
    assert attributes["runstead.run.status"] == "success"
    assert attributes["gen_ai.conversation.id"] == thread
    assert "4711" not in str([(span.name, dict(span.attributes or {})) for span in spans.get_finished_spans()])


async def execute_payer(tmp_path: Path, *, parent: str = PARENT, **options: Any) -> str:
    """Let the agent pay, and return the thread."""
    application = application_of(tmp_path / "data", paying(), **options)
    async with application.running(), client_of(application) as http:
        thread = await new_thread(http)
        await run_once(http, thread, parent, input={"messages": [{"role": "human", "content": "pay 4711"}]})
    return thread


async def test_calls_of_models_and_tools_are_spans_of_the_attempt(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    thread = await execute_payer(tmp_path)
    attempt, paid = named(spans, "run agent"), named(spans, "execute_tool pay")
    asked, answered = [span for span in spans.get_finished_spans() if span.name == "chat scripted"]
    assert {parent_of(span) for span in (asked, paid, answered)} == {id_of(attempt)}
    assert dict(asked.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.conversation.id": thread,
        "gen_ai.request.model": "scripted",
        "gen_ai.provider.name": "scriptedchatmodel",
        "gen_ai.usage.input_tokens": 2,
        "gen_ai.usage.output_tokens": 3,
    }
    assert [span for span in spans.get_finished_spans() if span.name.startswith("invoke_agent")] == []
    assert "4711" not in str([span.to_json() for span in spans.get_finished_spans()])


async def test_level_of_runs_has_no_spans_of_calls(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    await execute_payer(tmp_path, trace_level="runs")
    names = {span.name for span in spans.get_finished_spans()}
    assert names == {"POST /threads", "POST /threads/{thread_id}/runs/wait", "queue agent", "run agent"}


async def test_request_that_is_not_sampled_leaves_no_spans_of_its_run(
    tmp_path: Path, spans: InMemorySpanExporter
) -> None:
    await execute_payer(tmp_path, parent=f"{PARENT[:-2]}00")
    assert {span.name for span in spans.get_finished_spans()} == {"POST /threads"}


async def test_failed_call_is_an_error_without_its_text(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    def fails(amount: int) -> str:
        """Pay an amount."""
        raise ValueError(f"no money for {amount}")

    call = {"name": "fails", "args": {"amount": 4711}, "id": "call-1", "type": "tool_call"}
    model = ScriptedChatModel(script=turns(AIMessage("", tool_calls=[call])))
    application = application_of(tmp_path / "data", create_agent(model, [fails]))
    async with application.running(), client_of(application) as http:
        await run_once(http, await new_thread(http), input={"messages": []})
    failed = named(spans, "execute_tool fails")
    assert failed.status.status_code is StatusCode.ERROR
    assert dict(failed.attributes or {})["error.type"] == "ValueError"
    assert "4711" not in failed.to_json()


async def test_contents_need_the_level_that_has_them(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedConfiguration, match="set trace_level to 'all'"):
        async with application_of(tmp_path / "data", acting(), trace_contents=True).running():
            pass


async def test_contents_are_in_spans_only_if_chosen(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    application = application_of(tmp_path / "data", paying(), trace_level="all", trace_contents=True)
    async with application.running(), client_of(application) as http:
        await run_once(http, await new_thread(http), input={"messages": [{"role": "human", "content": "pay"}]})
    assert "4711" in str(dict(named(spans, "execute_tool pay").attributes or {}))


async def test_second_attempt_after_a_crash_continues_the_trace(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    begun, released = threading.Event(), threading.Event()

    def held(state: State) -> State:
        begun.set()
        assert released.wait(60)
        return {}

    graph = StateGraph(State).add_node(held).add_edge(START, "held").compile()
    first = application_of(tmp_path / "first", graph)
    async with first.running(), client_of(first) as http:
        thread = await new_thread(http)
        body = {"assistant_id": "agent", "input": {"kind": "works"}}
        await http.post(f"/threads/{thread}/runs", json=body, headers={"traceparent": PARENT})
        assert await asyncio.to_thread(begun.wait, 60)
        # What a killed process leaves: the files at this moment, with the run in flight.
        shutil.copytree(tmp_path / "first", tmp_path / "second", ignore=shutil.ignore_patterns("*.lock"))
        released.set()
    spans.clear()
    second = application_of(tmp_path / "second", graph)
    async with second.running(), client_of(second) as http:
        runs = (await http.get(f"/threads/{thread}/runs")).json()
        await http.get(f"/threads/{thread}/runs/{runs[0]['run_id']}/join", timeout=30)
    again = named(spans, "run agent")
    assert again.context is not None
    assert format(again.context.trace_id, "032x") == TRACE
    assert dict(again.attributes or {})["runstead.run.attempt"] == 2


async def test_run_that_answers_an_interrupt_links_to_the_run_that_asked(
    tmp_path: Path, spans: InMemorySpanExporter
) -> None:
    application = application_of(tmp_path / "data", acting())
    async with application.running(), client_of(application) as http:
        thread = await new_thread(http)
        await run_once(http, thread, input={"kind": "asks"})
        answer = {"assistant_id": "agent", "command": {"resume": "yes"}}
        await http.post(f"/threads/{thread}/runs/wait", json=answer, timeout=30)
    asked, resumed = [span for span in spans.get_finished_spans() if span.name == "run agent"]
    assert dict(asked.attributes or {})["runstead.run.status"] == "waiting"
    assert resumed.context is not None
    assert format(resumed.context.trace_id, "032x") != TRACE
    assert [format(link.context.trace_id, "032x") for link in resumed.links] == [TRACE]


async def test_failed_run_is_an_error_without_its_text(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    application = application_of(tmp_path / "data", acting())
    async with application.running(), client_of(application) as http:
        await run_once(http, await new_thread(http), input={"kind": "fails"})
    attempt = named(spans, "run agent")
    assert attempt.status.status_code is StatusCode.ERROR
    assert dict(attempt.attributes or {})["error.type"] == "ValueError"
    assert "4711" not in attempt.to_json()


async def test_trace_context_is_not_shown_to_clients(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    application = application_of(tmp_path / "data", acting())
    async with application.running(), client_of(application) as http:
        thread = await new_thread(http)
        await run_once(http, thread, input={"kind": "works"})
        shown = (await http.get(f"/threads/{thread}/runs")).text + (await http.get(f"/threads/{thread}/history")).text
    assert TRACE not in shown


async def test_health_checks_are_not_traced(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    application = application_of(tmp_path / "data", acting())
    async with application.running(), client_of(application) as http:
        for path in ("/ok", "/ready", "/metrics"):
            await http.get(path)
    assert spans.get_finished_spans() == ()


def test_nothing_of_it_is_imported_when_traces_are_off(tmp_path: Path) -> None:
    """LangSmith imports the SDK where it is installed; nothing here does."""
    code = f"""
        import asyncio, sys
        from pathlib import Path
        from opentelemetry import trace
        from tests.operations.conftest import application_of

        async def main():
            async with application_of(Path({str(tmp_path / "data")!r})).running():
                pass

        asyncio.run(main())
        ours = ("opentelemetry.exporter", "opentelemetry.instrumentation", "opentelemetry.util.genai")
        print([name for name in sys.modules if name.startswith((*ours, "runstead.infra.telemetry.tracing"))])
        print(type(trace.get_tracer_provider()).__name__)
    """
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)], capture_output=True, text=True, timeout=300, check=True, cwd=root
    )
    assert done.stdout.split() == ["[]", "ProxyTracerProvider"]


async def test_missing_packages_are_an_error_that_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "runstead.infra.telemetry.tracing", None)
    with pytest.raises(UnsupportedConfiguration, match=r"\[otel\]"):
        async with application_of(tmp_path / "data", acting()).running():
            pass
