"""A request for a run becomes a specification: each field has its effect, or is refused with a message."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from runstead.runtime.runs.types import AssistantId, CheckpointRef, RunCommand, RunScope, RunSpec, RunStatus, RunTracing
from runstead.wire.body import parse_body
from runstead.wire.configs import Continued
from runstead.wire.errors import BadRequest, Unprocessable, WireError
from runstead.wire.headers import TRACE, configurable_of
from runstead.wire.remarks import remarks_on
from runstead.wire.run_records import from_run_record, statuses_of, wire_status
from runstead.wire.runs import RUN_BATCH, check_batch, stream_modes_of

from .records import CHECKPOINT, RUN, THREAD, assistant, body, run_record, spec_of, thread


def made(**fields: Any) -> RunSpec:
    return spec_of(json.dumps({"assistant_id": "agent", **fields}).encode())


def stateless(**fields: Any) -> RunSpec:
    return spec_of(json.dumps({"assistant_id": "agent", **fields}).encode(), thread_id=None, thread=None)


def test_defaults_are_those_of_the_reference() -> None:
    spec = made(input={"x": 1})
    assert (spec.stream_modes, spec.durability, spec.multitask_strategy) == (("values",), "async", "enqueue")
    assert (spec.on_disconnect, spec.after_seconds, spec.stream_resumable, spec.stream_subgraphs) == (
        "continue",
        0,
        False,
        False,
    )
    assert spec.scope == RunScope("stateful", "reject", "keep")
    assert stateless().scope == RunScope("stateless", "create", "delete")


@pytest.mark.parametrize(
    ("field", "value", "attribute", "expected"),
    [
        ("run_id", RUN.upper(), "run_id", RUN),
        ("stream_mode", "messages-tuple", "stream_modes", ("messages-tuple",)),
        ("stream_mode", ["updates", "events", "updates"], "stream_modes", ("updates", "events")),
        ("stream_mode", [], "stream_modes", ()),
        ("stream_subgraphs", True, "stream_subgraphs", True),
        ("stream_resumable", True, "stream_resumable", True),
        ("durability", "sync", "durability", "sync"),
        ("checkpoint_during", False, "durability", "exit"),
        ("checkpoint_during", True, "durability", "async"),
        ("interrupt_before", "*", "interrupt_before", ("*",)),
        ("interrupt_after", ["a", "b"], "interrupt_after", ("a", "b")),
        ("multitask_strategy", "rollback", "multitask_strategy", "rollback"),
        ("on_disconnect", "cancel", "on_disconnect", "cancel"),
        ("after_seconds", 2, "after_seconds", 2),
        ("after_seconds", -3, "after_seconds", -3),
        ("if_not_exists", "create", "scope", RunScope("stateful", "create", "keep")),
        ("timeout_seconds", 1.5, "timeout_seconds", 1.5),
        ("max_attempts", 2, "max_attempts", 2),
        ("strict_resume", True, "strict_resume", True),
        ("thread_id", THREAD, "thread_id", THREAD),
        ("langsmith_tracer", {"project_name": "p", "example_id": RUN}, "tracing", RunTracing("p", RUN)),
        ("langsmith_tracer", {"project_name": None}, "tracing", None),
        ("checkpoint_id", CHECKPOINT, "checkpoint", CheckpointRef(CHECKPOINT)),
        (
            "checkpoint",
            {
                "thread_id": THREAD,
                "checkpoint_ns": "a:1",
                "checkpoint_id": CHECKPOINT,
                "checkpoint_map": {"": CHECKPOINT},
            },
            "checkpoint",
            CheckpointRef(CHECKPOINT, "a:1", {"": CHECKPOINT}),
        ),
        ("config", {"configurable": {"checkpoint_id": CHECKPOINT}}, "checkpoint", CheckpointRef(CHECKPOINT)),
    ],
)
def test_every_field_has_its_effect(field: str, value: Any, attribute: str, expected: Any) -> None:
    assert getattr(made(**{field: value}), attribute) == expected


def test_durability_overrides_its_older_name() -> None:
    assert made(durability="sync", checkpoint_during=False).durability == "sync"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"stream_mode": ["tools"]}, "stream_mode"),
        ({"stream_mode": "lifecycle"}, "stream_mode"),
        ({"multitask_strategy": "bogus"}, "multitask_strategy: Input should be 'reject'"),
        ({"checkpoint_id": "bogus"}, "Invalid checkpoint ID"),
        ({"checkpoint": {"checkpoint_id": "../x"}}, "Invalid checkpoint ID"),
        ({"checkpoint": {"thread_id": RUN, "checkpoint_id": CHECKPOINT}}, "belongs to thread"),
        ({"config": {"configurable": {"checkpoint_id": 7}}}, "Invalid checkpoint ID"),
        ({"run_id": "../../etc"}, "Invalid run ID"),
        ({"webhook": 7}, "webhook"),
        ({"feedback_keys": "thumbs"}, "feedback_keys"),
        ({"langsmith_tracer": {"example_id": "p"}}, "langsmith_tracer.example_id: must be a UUID"),
        ({"thread_id": RUN}, "the body names thread"),
        ({"strict_resume": "yes"}, "strict_resume"),
        ({"config": {"max_concurrency": 0}}, r"config\.max_concurrency"),
        ({"on_completion": "delete"}, "on_completion"),
        ({"after_seconds": 1e300}, "after_seconds"),
        ({"after_seconds": "1"}, "after_seconds"),
        ({"config": {"recursion_limit": 0}}, r"config\.recursion_limit"),
        ({"config": {"recursion_limit": "5"}}, r"config\.recursion_limit"),
        ({"config": {"configurable": []}}, r"config\.configurable"),
        ({"config": {"tags": [1]}}, r"config\.tags"),
        ({"metadata": "x"}, "metadata"),
        ({"context": []}, "context"),
        ({"command": {}, "input": {"a": 1}}, "at least one of resume"),
        ({"command": {"update": [["a"]]}}, "pairs"),
        ({"command": {"goto": {"input": 1}}}, "command"),
        ({"command": {"update": {"a": 1}}, "input": {"b": 1}}, "cannot both be given"),
        ({"interrupt_before": "node"}, "interrupt_before"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"durability": "never"}, "durability"),
        ({"assistant_id": None}, "assistant_id"),
    ],
)
def test_unsupported_run_is_refused_with_a_message(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Unprocessable, match=sentence):
        made(**fields)


def test_run_without_a_thread_can_neither_resume_nor_fork() -> None:
    with pytest.raises(BadRequest, match="You must provide a thread_id when resuming"):
        stateless(command={"resume": "x"})
    with pytest.raises(Unprocessable, match="at least one of resume"):
        stateless(command={})
    with pytest.raises(Unprocessable, match="without a thread"):
        stateless(checkpoint_id=CHECKPOINT)


def test_thread_is_named_by_the_path() -> None:
    with pytest.raises(Unprocessable, match=f"created at /threads/{THREAD}/runs"):
        stateless(thread_id=THREAD)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ({"resume": None}, RunCommand(None, has_resume=True)),
        ({}, RunCommand(None, has_resume=True)),
        ({"update": None, "goto": []}, RunCommand(None, has_resume=True)),
        ({"resume": {"id": "yes"}}, RunCommand({"id": "yes"}, has_resume=True)),
        ({"goto": "a"}, RunCommand(goto=("a",))),
        ({"goto": [{"node": "a", "input": 1}, "b"]}, RunCommand(goto=({"node": "a", "input": 1}, "b"))),
        ({"update": [["k", 1]]}, RunCommand(update=[["k", 1]])),
    ],
)
def test_commands_in_all_their_forms(command: dict[str, Any], expected: RunCommand) -> None:
    assert made(command=command).command == expected


def test_empty_input_beside_a_resume_is_what_chat_clients_send() -> None:
    spec = made(input={}, command={"resume": "yes"})
    assert spec.command == RunCommand("yes", has_resume=True)


def test_parsed_run_spec_round_trips_through_storage() -> None:
    spec = made(
        input={"a": [1]},
        command={"resume": 1, "goto": [{"node": "n", "input": None}]},
        checkpoint={"checkpoint_id": CHECKPOINT},
        config={"configurable": {"k": 1}, "tags": ["t"], "run_name": "n", "max_concurrency": 2},
        langsmith_tracer={"project_name": "p"},
        strict_resume=True,
    )
    assert RunSpec.from_json(json.loads(json.dumps(spec.to_json()))) == replace(spec, thread_config=None)


class TestMerging:
    """Thread, then assistant, then the run: the later one wins."""

    def test_configurable_tags_and_metadata(self) -> None:
        spec = spec_of(
            json.dumps(
                {
                    "assistant_id": "agent",
                    "config": {
                        "configurable": {"c": "run"},
                        "tags": ["run"],
                        "metadata": {"m": "config"},
                        "recursion_limit": 9,
                    },
                    "metadata": {"n": "run"},
                }
            ).encode(),
            assistant=assistant(
                config={"configurable": {"a": "assistant", "b": "assistant", "c": "assistant"}, "tags": ["assistant"]},
                metadata={"created_by": "system", "m": "assistant", "n": "assistant"},
            ),
            thread=thread(
                config={"configurable": {"b": "thread", "t": "thread"}}, metadata={"owner": "x", "m": "thread"}
            ),
        )
        assert spec.config["configurable"] == {"a": "assistant", "b": "assistant", "c": "run", "t": "thread"}
        assert (spec.config["tags"], spec.config["recursion_limit"]) == (["run"], 9)
        assert spec.metadata == {
            "created_by": "system",
            "owner": "x",
            "m": "config",
            "n": "run",
            "graph_id": "agent",
            "assistant_id": assistant().assistant_id,
        }
        assert spec.config["metadata"] == spec.metadata

    def test_context_and_configurable_mirror_each_other(self) -> None:
        assert made(context={"color": "green"}).config["configurable"] == {"color": "green"}
        assert made(config={"configurable": {"color": "teal"}}).context == {"color": "teal"}

    def test_thread_configurable_fills_gaps_of_the_assistant(
        self,
    ) -> None:
        spec = spec_of(
            b'{"assistant_id": "a", "config": {"configurable": {"c": "run"}}}',
            assistant=assistant(
                config={"configurable": {"a": "assistant", "b": "assistant", "c": "assistant"}, "tags": ["assistant"]},
                context={"a": "assistant", "b": "assistant", "c": "assistant"},
            ),
            thread=thread(config={"configurable": {"b": "thread", "t": "thread"}, "tags": ["thread"]}),
        )
        expected = {"a": "assistant", "b": "assistant", "c": "run", "t": "thread"}
        assert spec.context == spec.config["configurable"] == expected
        assert spec.config["tags"] == ["assistant"]

    @pytest.mark.parametrize(
        ("of_assistant", "expected"),
        [
            (assistant().assistant_id, {"t": 1, "a": "continued", "k": "continued", "r": "run"}),
            ("another", {"t": 1, "a": "assistant", "k": "continued", "r": "run"}),
        ],
    )
    def test_continued_run_overrides_its_assistant_but_not_another_assistant(
        self, of_assistant: str, expected: dict[str, Any]
    ) -> None:
        values = {"a": "continued", "k": "continued", "r": "continued"}
        spec = spec_of(
            b'{"assistant_id": "a", "command": {"resume": 1}, "config": {"configurable": {"r": "run"}}}',
            assistant=assistant(config={"configurable": {"a": "assistant"}}, context={"a": "assistant"}),
            thread=thread(config={"configurable": {"t": 1, "a": "thread", "k": "thread"}}),
            continued=Continued(AssistantId(of_assistant), values, values),
        )
        assert spec.context == spec.config["configurable"] == expected

    def test_thread_record_excludes_the_configurable_of_the_run(self) -> None:
        spec = made(config={"configurable": {"x": 1}, "tags": ["r"]})
        assert spec.thread_config == {"configurable": {}, "tags": ["r"]}
        assert "thread_config" not in spec.to_json()

    def test_context_of_the_assistant_is_the_default(self) -> None:
        spec = spec_of(b'{"assistant_id": "a", "context": {"b": 2}}', assistant=assistant(context={"a": 1, "b": 1}))
        assert spec.context == {"a": 1, "b": 2}

    def test_context_and_configurable_together_are_refused(self) -> None:
        with pytest.raises(BadRequest, match=r"^Cannot specify both configurable and context"):
            made(context={"a": 1}, config={"configurable": {"b": 2}})

    def test_empty_context_and_configurable_together_are_accepted(self) -> None:
        assert made(context={}, config={"configurable": {"b": 2}}).context == {"b": 2}

    def test_keys_that_only_the_server_sets_are_dropped(self) -> None:
        spec = made(
            config={
                "configurable": {"__pregel_x": 1, "langgraph_auth_user": 1, "thread_id": "x", "run_id": "y", "mine": 1},
                "metadata": {"run_id": "x", "__secret": 1},
            },
            metadata={"assistant_id": "forged", "thread_id": "forged", "graph_id": "forged", "cron_id": "forged"},
        )
        assert spec.config["configurable"] == {"mine": 1}
        assert spec.metadata == {"created_by": "system", "graph_id": "agent", "assistant_id": assistant().assistant_id}

    def test_context_cannot_set_server_keys(self) -> None:
        spec = made(context={"langgraph_auth_user": 1, "__pregel_x": 1, "checkpoint_id": "x", "thread_id": "y", "a": 1})
        assert spec.config["configurable"] == {"a": 1}
        assert spec.checkpoint is None

    def test_allowed_headers_reach_configurable(self) -> None:
        assert spec_of(b'{"assistant_id": "a"}', headers={"x-tenant": "acme"}).config["configurable"] == {
            "x-tenant": "acme"
        }


class TestHeaders:
    """Request headers that a run sees, and their keys."""

    def test_headers_are_dropped_unless_allowed(self) -> None:
        sent = {"x-tenant": "acme", "user-agent": "me", "baggage": "a=b"}
        assert configurable_of(sent, lambda name: False) == {}
        assert configurable_of(sent, lambda name: name == "x-tenant") == {"x-tenant": "acme"}

    def test_caller_s_trace_with_what_it_carries(self) -> None:
        carried = "langsmith-metadata=%7B%22a%22%3A1%7D, langsmith-tags=x%2Cy,langsmith-project=p%20q"
        baggage = f"{carried},langsmith-replicas=%5B%22http://elsewhere%22%5D,other=1"
        assert configurable_of({TRACE: "t", "baggage": baggage}, lambda name: True) == {
            TRACE: "t",
            "langsmith-metadata": {"a": 1},
            "langsmith-tags": ["x", "y"],
            "langsmith-project": "p q",
        }

    @pytest.mark.parametrize("baggage", ["langsmith-metadata=%7B", "langsmith-metadata=1", "=", ",,", "a"])
    def test_malformed_baggage_does_not_refuse_the_run(self, baggage: str) -> None:
        assert configurable_of({TRACE: "t", "baggage": baggage}, lambda name: False) == {TRACE: "t"}


class TestRemarks:
    """Accepted fields without effect are reported."""

    def remarks(self, *, is_traced: bool = False, **fields: Any) -> Any:
        return remarks_on([body(json.dumps({"assistant_id": "agent", **fields}).encode())] * 2, is_traced=is_traced)

    def test_no_remark_when_every_field_has_an_effect(self) -> None:
        assert self.remarks(feedback_keys=[], langsmith_tracer={}) == {}
        assert self.remarks(langsmith_tracer={"project_name": "p"}, is_traced=True) == {}

    def test_one_remark_per_ignored_field(self) -> None:
        remarks = self.remarks(feedback_keys=["thumbs"], langsmith_tracer={"project_name": "p"})
        sentences = remarks["runstead-remark"].split("; ")
        assert [sentence.split()[0] for sentence in sentences] == ["feedback_keys", "langsmith_tracer"]


class TestShown:
    """A record as clients read it."""

    def test_new_run_looks_as_the_reference_shows_it(self) -> None:
        spec = made(input={"messages": []}, metadata={"a": 1})
        shown = from_run_record(run_record(spec))
        expected = {
            "run_id": RUN,
            "thread_id": THREAD,
            "assistant_id": spec.assistant_id,
            "metadata": spec.metadata,
            "status": "pending",
            "multitask_strategy": "enqueue",
            "langsmith_session_name": None,
        }
        assert {name: shown[name] for name in expected} == expected
        own = {"run_id": RUN, "thread_id": THREAD, "graph_id": "agent", "assistant_id": spec.assistant_id}
        assert shown["kwargs"] == {
            "input": {"messages": []},
            "command": None,
            "config": {"configurable": own, "metadata": spec.metadata},
            "context": {},
            "stream_mode": ["values"],
            "interrupt_before": None,
            "interrupt_after": None,
            "webhook": None,
            "feedback_keys": None,
            "temporary": False,
            "subgraphs": False,
            "resumable": False,
            "checkpoint_during": True,
            "durability": "async",
        }

    def test_run_record_echoes_the_request(self) -> None:
        spec = made(command={"resume": None}, interrupt_before="*", interrupt_after=["n"], durability="exit")
        kwargs = from_run_record(run_record(spec))["kwargs"]
        assert kwargs["command"] == {"resume": None, "update": None, "goto": []}
        assert (kwargs["interrupt_before"], kwargs["interrupt_after"]) == ("*", ["n"])
        assert kwargs["checkpoint_during"] is False

    def test_starting_is_shown_as_pending_and_found_by_it(self) -> None:
        assert wire_status(RunStatus.STARTING) == "pending"
        assert statuses_of("pending") == (RunStatus.PENDING, RunStatus.STARTING)
        assert statuses_of("running") == (RunStatus.RUNNING,)
        assert statuses_of(None) == ()


@pytest.mark.parametrize(
    ("texts", "modes"),
    [
        ([], None),
        ([""], None),
        (["values", "custom"], ("values", "custom")),
        (["values,custom"], ("values", "custom")),
        (['["values","custom"]'], ("values", "custom")),
    ],
)
def test_modes_in_a_query_come_in_the_forms_of_all_clients(texts: list[str], modes: tuple[str, ...] | None) -> None:
    assert stream_modes_of(texts) == modes


def test_unknown_mode_in_a_query_is_refused() -> None:
    with pytest.raises(Unprocessable, match="'bogus' is not one of"):
        stream_modes_of(["values", "bogus"])


@pytest.mark.parametrize("size", [0, 1_001])
def test_batch_size_is_limited(size: int) -> None:
    raw = json.dumps([{"assistant_id": "agent"}] * size).encode()
    bodies = parse_body(raw, RUN_BATCH)
    with pytest.raises(WireError, match="A batch must have 1 to 1000 runs"):
        check_batch(bodies)
