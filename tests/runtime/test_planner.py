"""Conversion of a run specification to LangGraph's terms."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from langgraph.types import Command, Send

from runstead.runtime import ActorContext, CheckpointRef, Lease, RunCommand, RunRecord, RunSpec, RunStatus
from runstead.runtime.runs.internal.execution.planner import ExecutionPlan, ExecutionPlanner
from runstead.runtime.runs.types import AssistantId, RunId, ThreadId, WorkerId

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUN_ID = RunId("01a20000-0000-7000-8000-000000000001")


def planned(resuming: bool = False, attempt: int = 1, **fields: Any) -> ExecutionPlan:
    spec = RunSpec(assistant_id=AssistantId("assistant"), graph_id="graph", **fields)
    run = RunRecord(
        RUN_ID, ThreadId("thread"), spec.assistant_id, spec, ActorContext("ada"), RunStatus.RUNNING, NOW, NOW, NOW
    )
    return ExecutionPlanner().plan(Lease(run, WorkerId("worker"), attempt, NOW), resuming=resuming)


def test_caller_cannot_override_the_run_identity() -> None:
    plan = planned(
        config={"configurable": {"thread_id": "other", "run_id": "other", "mine": 1}}, metadata={"run_id": "x"}
    )
    configurable = plan.config["configurable"]
    assert (configurable["thread_id"], configurable["run_id"], configurable["mine"]) == ("thread", RUN_ID, 1)
    assert plan.config["metadata"]["run_id"] == RUN_ID
    assert plan.config["metadata"]["run_attempt"] == 1


def test_values_mode_is_always_streamed() -> None:
    plan = planned(stream_modes=("messages-tuple", "events"))
    assert plan.graph_modes == ("messages", "values")
    assert plan.wanted == {"messages-tuple", "events"}
    assert plan.with_events


def test_resuming_attempt_gets_no_input_and_no_fork_checkpoint() -> None:
    fork = CheckpointRef(checkpoint_id="c1")
    assert planned(input={"a": 1}, checkpoint=fork).config["configurable"]["checkpoint_id"] == "c1"
    resumed = planned(resuming=True, attempt=2, input={"a": 1}, checkpoint=fork)
    assert resumed.input is None
    assert "checkpoint_id" not in resumed.config["configurable"]


def test_reading_the_latest_state_ignores_the_fork_checkpoint() -> None:
    assert "checkpoint_id" not in planned(checkpoint=CheckpointRef("c1")).state_config["configurable"]


def test_each_attempt_is_a_callback_tree_of_its_own() -> None:
    assert str(planned().config["run_id"]) == RUN_ID
    assert "run_id" not in planned(attempt=2, resuming=True).config


def test_command_is_converted_to_a_langgraph_command() -> None:
    command = RunCommand(
        resume=None, has_resume=True, update=[["a", 1]], goto=("node", {"node": "work", "input": {"n": 1}})
    )
    plan = planned(command=command)
    assert isinstance(plan.input, Command)
    assert plan.input.update == [("a", 1)]
    assert plan.input.goto == ["node", Send("work", {"n": 1})]


def test_input_beside_a_command_is_not_dropped() -> None:
    assert planned(command=RunCommand(goto=("node",)), input={"a": 1}).input.update == {"a": 1}


def test_breakpoints_name_nodes_or_all_of_them() -> None:
    plan = planned(interrupt_before=("a", "b"), interrupt_after=("*",))
    assert (plan.interrupt_before, plan.interrupt_after) == (["a", "b"], "*")
    assert planned().interrupt_before is None
