"""Fields of run creation that other scenarios do not need, each with its effect; through both clients."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

HI = {"messages": [{"role": "human", "content": "hi"}]}


async def thread_of(client: Any) -> str:
    thread_id: str = (await client.threads.create())["thread_id"]
    return thread_id


async def asked(client: Any, graph: str = "hitl") -> tuple[str, list[str]]:
    """Return an interrupted thread, and the ids of its interrupts."""
    thread_id = await thread_of(client)
    await client.runs.wait(thread_id, graph, input={})
    state = await client.threads.get_state(thread_id)
    return thread_id, [interrupt["id"] for task in state["tasks"] for interrupt in task["interrupts"]]


class TestStrictResume:
    async def test_info_announces_the_feature(self, url: str) -> None:
        async with httpx.AsyncClient(base_url=url) as http:
            flags = (await http.get("/info")).json()["flags"]
        assert (flags["strict_resume"], flags["stream_namespaces"]) == (True, True)

    async def test_pending_interrupt_is_resumed(self, client: Any) -> None:
        thread_id, (interrupt_id,) = await asked(client)
        values = await client.runs.wait(
            thread_id, "hitl", command={"resume": {interrupt_id: "yes"}}, strict_resume=True
        )
        assert values["answer"] == "yes"

    async def test_answer_to_an_unknown_interrupt_fails_and_keeps_the_thread(self, client: Any) -> None:
        thread_id, pending = await asked(client)
        before = await client.threads.get(thread_id)
        unknown = "0" * 32
        parts = [
            part
            async for part in client.runs.stream(
                thread_id, "hitl", command={"resume": {unknown: "yes"}}, strict_resume=True
            )
        ]
        assert [part.event for part in parts] == ["metadata", "error"]
        told = parts[-1].data
        assert told["error"] == "UnknownInterruptError"
        assert (told["reason"], told["interrupt_ids"], told["pending_ids"]) == (
            "unknown_interrupt",
            [unknown],
            pending,
        )
        (run, _) = await client.runs.list(thread_id)
        assert (run["status"], run["failure"]["pending_ids"]) == ("error", pending)
        after = await client.threads.get(thread_id)
        for name in ("status", "values", "interrupts", "error"):
            assert after[name] == before[name], name
        assert (await client.runs.wait(thread_id, "hitl", command={"resume": "ok"}))["answer"] == "ok"

    async def test_interrupt_that_was_already_answered_is_unknown(self, client: Any) -> None:
        thread_id, (first, second) = await asked(client, "multi")
        await client.runs.wait(thread_id, "multi", command={"resume": {first: "1"}}, strict_resume=True)
        with pytest.raises(Exception, match="UnknownInterruptError"):
            await client.runs.wait(thread_id, "multi", command={"resume": {first: "again"}}, strict_resume=True)
        values = await client.runs.wait(thread_id, "multi", command={"resume": {second: "2"}}, strict_resume=True)
        assert sorted(values["answers"]) == ["a=1", "b=2"]

    async def test_resume_value_for_a_thread_without_interrupts_fails(self, client: Any) -> None:
        thread_id = await thread_of(client)
        await client.runs.wait(thread_id, "agent", input=HI)
        with pytest.raises(Exception, match="nothing waits for an answer"):
            await client.runs.wait(thread_id, "agent", command={"resume": "yes"}, strict_resume=True)
        assert (await client.threads.get(thread_id))["status"] == "idle"


class TestNamespaces:
    async def names(self, client: Any, *namespaces: str) -> set[str]:
        thread_id = await thread_of(client)
        stream = client.runs.stream(
            thread_id,
            "nested",
            input=HI,
            stream_mode=["values", "updates"],
            stream_subgraphs=True,
            stream_resumable=True,
            params={"namespace": list(namespaces)} if namespaces else None,
        )
        return {part.event.partition(":")[0] async for part in stream} - {"metadata"}

    async def test_default_includes_all_namespaces(self, client: Any) -> None:
        assert await self.names(client) == {"values", "updates", "values|child", "updates|child"}

    async def test_root_namespace_only(self, client: Any) -> None:
        assert await self.names(client, "") == {"values", "updates"}

    async def test_unknown_namespace_yields_nothing(self, client: Any) -> None:
        assert await self.names(client, "other:1") == set()

    async def test_run_is_joined_in_one_of_its_graphs(self, client: Any) -> None:
        thread_id = await thread_of(client)
        stream = client.runs.stream(
            thread_id, "nested", input=HI, stream_mode="values", stream_subgraphs=True, stream_resumable=True
        )
        events = [part.event async for part in stream]
        (child,) = {event for event in events if "|" in event}
        run_id = (await client.runs.list(thread_id))[0]["run_id"]
        joined = client.runs.join_stream(
            thread_id, run_id, last_event_id="-1", params={"namespace": child.partition("|")[2]}
        )
        assert {part.event async for part in joined} == {"metadata", child}


class TestCancelReason:
    async def test_cancel_reason_is_stored_on_the_run(self, client: Any) -> None:
        thread_id = await thread_of(client)
        run = await client.runs.create(thread_id, "slow", input={"steps": 50, "delay": 0.1})
        await client.runs.cancel(thread_id, run["run_id"], wait=True, params={"reason": "taken"})
        ended = await client.runs.get(thread_id, run["run_id"])
        assert ended["status"] == "interrupted"
        assert ended["cancel_reason"].startswith("taken:")

    async def test_rollback_leaves_no_run_to_carry_a_reason(self, client: Any) -> None:
        thread_id = await thread_of(client)
        run = await client.runs.create(thread_id, "slow", input={"steps": 50, "delay": 0.1})
        with pytest.raises(Exception, match="requires action=interrupt"):
            await client.runs.cancel(thread_id, run["run_id"], action="rollback", params={"reason": "taken"})
        with pytest.raises(Exception, match="reason: Input should be 'taken'"):
            await client.runs.cancel(thread_id, run["run_id"], params={"reason": "bored"})
        await client.runs.cancel(thread_id, run["run_id"], wait=True)


class TestRemarks:
    """Accepted fields without effect are named in a header."""

    @pytest.mark.parametrize("path", ["runs", "runs/stream", "runs/wait"])
    @pytest.mark.parametrize("stateless", [False, True])
    async def test_remarks_are_in_every_response_that_creates_a_run(self, url: str, path: str, stateless: bool) -> None:
        async with httpx.AsyncClient(base_url=url) as http:
            place = "" if stateless else f"/threads/{(await http.post('/threads', json={})).json()['thread_id']}"
            body = {"assistant_id": "agent", "input": HI}
            plain = await http.post(f"{place}/{path}", json=body)
            assert "runstead-remark" not in plain.headers
            told = await http.post(
                f"{place}/{path}",
                json={**body, "feedback_keys": ["thumbs"], "langsmith_tracer": {"project_name": "p"}},
                headers={"origin": "http://localhost:3000"},
            )
        assert told.status_code == 200
        assert "feedback_keys" in told.headers["runstead-remark"]
        assert "langsmith_tracer" in told.headers["runstead-remark"]
        assert "runstead-remark" in told.headers["access-control-expose-headers"]

    async def test_remarks_cover_batches_and_sdk_field_names(self, client: Any, url: str) -> None:
        tracer = {"project_name": "p"}
        stream = client.runs.stream(None, "agent", input=HI, feedback_keys=["thumbs"], langsmith_tracing=tracer)
        assert "metadata" in [part.event async for part in stream]
        async with httpx.AsyncClient(base_url=url) as http:
            bodies = [{"assistant_id": "agent", "input": HI, "feedback_keys": ["a"]}, {"assistant_id": "agent"}]
            told = await http.post("/runs/batch", json=bodies)
        assert told.headers["runstead-remark"].startswith("feedback_keys")


async def test_stream_without_modes_has_only_metadata(client: Any) -> None:
    parts = [part.event async for part in client.runs.stream(None, "agent", input=HI, stream_mode=[])]
    assert parts == ["metadata"]


async def test_caller_s_trace_reaches_the_run(url: str) -> None:
    trace = "20261122T000000000000Z01a202ac-a895-7148-89f0-26ba5aeb42ff"
    headers = {"langsmith-trace": trace, "baggage": "langsmith-project=theirs"}
    async with httpx.AsyncClient(base_url=url) as http:
        made = await http.post("/runs", json={"assistant_id": "agent", "input": HI}, headers=headers)
    configurable = made.json()["kwargs"]["config"]["configurable"]
    assert (configurable["langsmith-trace"], configurable["langsmith-project"]) == (
        headers["langsmith-trace"],
        "theirs",
    )
