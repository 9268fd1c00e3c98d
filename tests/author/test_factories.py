"""A factory that builds a different graph for each config: threads are read, updated and resumed with the right one."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

MINT = {"configurable": {"flavour": "mint"}}
LIME = {"configurable": {"flavour": "lime"}}


def asked(client: Any, assistant_id: str = "flavoured", **options: Any) -> str:
    thread_id: str = client.threads.create()["thread_id"]
    client.runs.wait(thread_id, assistant_id, input={"said": []}, **options)
    return thread_id


def test_state_shows_the_nodes_of_the_config_of_the_latest_run(client: Any) -> None:
    thread_id = asked(client, config=MINT)
    state = client.threads.get_state(thread_id)
    assert state["next"] == ["ask_mint"]
    assert [task["name"] for task in state["tasks"]] == ["ask_mint"]
    assert [interrupt["value"] for interrupt in state["interrupts"]] == ["mint?"]
    assert client.threads.get_history(thread_id)[0]["next"] == ["ask_mint"]


def test_state_shows_the_nodes_of_the_context_of_the_latest_run(client: Any) -> None:
    assert client.threads.get_state(asked(client, context={"flavour": "mint"}))["next"] == ["ask_mint"]


def test_state_at_a_checkpoint_shows_the_nodes_of_the_config_of_the_latest_run(client: Any) -> None:
    thread_id = asked(client, config=MINT)
    checkpoint = client.threads.get_state(thread_id)["checkpoint"]
    assert client.threads.get_state(thread_id, checkpoint=checkpoint)["next"] == ["ask_mint"]
    by_id = client.threads.get_state(thread_id, checkpoint_id=checkpoint["checkpoint_id"])
    assert by_id["next"] == ["ask_mint"]


def test_update_is_applied_by_the_nodes_of_the_config_of_the_latest_run(client: Any) -> None:
    thread_id = asked(client, config=MINT)
    client.threads.update_state(thread_id, {"answer": "by hand"}, as_node="ask_mint")
    assert client.threads.get_state(thread_id)["next"] == ["done_mint"]


def test_state_of_an_assistants_thread_shows_the_nodes_of_its_config(client: Any) -> None:
    assistant = client.assistants.create("flavoured", config=LIME)
    thread_id = asked(client, assistant["assistant_id"])
    assert client.threads.get_state(thread_id)["next"] == ["ask_lime"]
    client.threads.update_state(thread_id, {"answer": "by hand"}, as_node="ask_lime")
    assert client.threads.get_state(thread_id)["next"] == ["done_lime"]


def test_state_whose_runs_were_deleted_shows_the_nodes_of_its_assistant(client: Any) -> None:
    assistant = client.assistants.create("flavoured", config=LIME)
    thread_id = asked(client, assistant["assistant_id"])
    for run in client.runs.list(thread_id):
        client.runs.delete(thread_id, run["run_id"])
    assert client.threads.get_state(thread_id)["next"] == ["ask_lime"]


def test_state_uses_the_started_run_and_not_the_pending_one(client: Any) -> None:
    thread_id = asked(client, config=MINT)
    client.runs.create(thread_id, "flavoured", input={"said": []}, config=LIME, after_seconds=3_600)
    assert client.threads.get_state(thread_id)["next"] == ["ask_mint"]


def test_state_of_a_copy_shows_the_nodes_of_the_copied_thread(client: Any) -> None:
    thread_id = asked(client, config=MINT)
    copy = client.threads.copy(thread_id)
    assert client.threads.get_state(copy["thread_id"])["next"] == ["ask_mint"]
    answered = client.runs.wait(copy["thread_id"], "flavoured", command={"resume": "yes"})
    assert answered["said"][-1] == "mint done yes"


def test_supersteps_are_applied_by_the_nodes_of_the_assistant(client: Any) -> None:
    assistant = client.assistants.create("flavoured", config=LIME)
    metadata = {"graph_id": "flavoured", "assistant_id": assistant["assistant_id"]}
    steps = [
        {"updates": [{"values": {"said": ["a"]}, "as_node": "__start__"}]},
        {"updates": [{"values": {"answer": "x"}, "as_node": "ask_lime"}]},
    ]
    thread = client.threads.create(metadata=metadata, supersteps=steps)
    assert client.threads.get_state(thread["thread_id"])["next"] == ["done_lime"]


@pytest.mark.parametrize("given", [{}, {"config": {"configurable": {"other": 1}}}, {"context": {"other": 1}}], ids=str)
def test_resume_without_config_uses_the_config_of_the_interrupted_run(client: Any, given: dict[str, Any]) -> None:
    thread_id = asked(client, config=MINT)
    answered = client.runs.wait(thread_id, "flavoured", command={"resume": "yes"}, **given)
    assert answered["said"] == ["mint", "mint done yes"]


def test_run_without_input_uses_the_config_of_the_stopped_run(client: Any) -> None:
    thread_id = client.threads.create()["thread_id"]
    client.runs.wait(thread_id, "flavoured", input={"said": []}, config=MINT, interrupt_before=["ask_mint"])
    client.runs.wait(thread_id, "flavoured", input=None)
    assert client.threads.get_state(thread_id)["interrupts"][0]["value"] == "mint?"


def test_resume_with_config_uses_its_own_config(client: Any) -> None:
    assistant = client.assistants.create("flavoured", config=LIME)
    thread_id = asked(client, config=LIME)
    # Precedence: the request, then another assistant, then the interrupted run.
    client.runs.wait(thread_id, assistant["assistant_id"], command={"resume": "yes"}, config=MINT)
    assert client.runs.list(thread_id)[0]["kwargs"]["config"]["configurable"]["flavour"] == "mint"


def test_new_input_does_not_inherit_the_config(client: Any) -> None:
    thread_id = asked(client, config=MINT)
    client.runs.wait(thread_id, "flavoured", input={"said": []})
    assert client.threads.get_state(thread_id)["next"] == ["ask_plain"]


class TestThreadConfig:
    """``config`` of a thread, as the reference shows it."""

    def test_config_merges_assistant_and_run_without_the_run_configurable(self, client: Any) -> None:
        assistant = client.assistants.create("flavoured", config={**LIME, "tags": ["a"], "recursion_limit": 33})
        assert client.threads.create()["config"] == {}
        config = {"configurable": {"x": "1"}, "tags": ["r"], "metadata": {"m": 1}, "recursion_limit": 44}
        thread_id = asked(client, assistant["assistant_id"], config=config)
        after = {**LIME, "tags": ["r"], "metadata": {"m": 1}, "recursion_limit": 44}
        assert client.threads.get(thread_id)["config"] == after
        client.runs.wait(thread_id, "flavoured", input={"said": []}, config=MINT)
        assert client.threads.get(thread_id)["config"] == after
        assert client.threads.search(ids=[thread_id])[0]["config"] == after

    def test_config_is_set_when_the_run_created_the_thread(self, client: Any) -> None:
        thread_id = str(uuid4())
        client.runs.wait(thread_id, "flavoured", input={"said": []}, config=MINT, if_not_exists="create")
        assert client.threads.get(thread_id)["config"] == {"configurable": {}}

    def test_tags_and_limits_of_a_run_do_not_affect_the_next(self, client: Any) -> None:
        thread_id = asked(client, config={"tags": ["r"], "recursion_limit": 44, "metadata": {"m": 1}})
        client.runs.wait(thread_id, "flavoured", input={"said": []})
        kwargs = client.runs.list(thread_id)[0]["kwargs"]
        assert not kwargs["config"].keys() & {"tags", "recursion_limit"}
        assert "m" not in kwargs["config"]["metadata"]

    def test_current_assistant_config_overrides_the_earlier_one(self, client: Any) -> None:
        assistant = client.assistants.create("flavoured", config=LIME)
        thread_id = asked(client, assistant["assistant_id"])
        client.assistants.update(assistant["assistant_id"], config=MINT)
        client.runs.wait(thread_id, assistant["assistant_id"], input={"said": []})
        assert client.threads.get_state(thread_id)["next"] == ["ask_mint"]
        # As on the reference, an assistant without the key inherits it from the thread.
        client.runs.wait(thread_id, "flavoured", input={"said": []})
        assert client.threads.get_state(thread_id)["next"] == ["ask_mint"]
