"""Values of a state survive an interrupt, and what a context holds is in no checkpoint."""

from __future__ import annotations

import json
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("kind", "shown", "seen"),
    [
        ("scalar", {"scores": [0.25, 0.5, 7]}, "dict"),
        ("array", [[1.0, 2.0]], "ndarray"),
        ("frame", [{"a": 1}, {"a": 2}], "DataFrame"),
        ("complex", "1+2j", "complex"),
    ],
)
def test_a_value_survives_an_interrupt_and_is_the_same_json_everywhere(
    client: Any, kind: str, shown: Any, seen: str
) -> None:
    thread_id = client.threads.create()["thread_id"]
    assert client.runs.wait(thread_id, "measuring", input={"kind": kind})["value"] == shown
    assert client.threads.get_state(thread_id)["values"]["value"] == shown
    assert client.threads.get(thread_id)["values"]["value"] == shown
    answered = client.runs.wait(thread_id, "measuring", command={"resume": "yes"})
    assert (answered["seen"], answered["value"]) == (seen, shown)


def test_a_value_that_cannot_be_kept_is_named_with_its_path_and_the_setting(client: Any) -> None:
    thread_id = client.threads.create()["thread_id"]
    ended = client.runs.wait(thread_id, "measuring", input={"kind": "lock"}, raise_error=False)
    message = ended["__error__"]["message"]
    assert message.startswith("value.deep[0]: a value of type _thread.lock cannot be kept in a checkpoint")
    assert "pickle_fallback" in message


def test_context_values_are_in_no_checkpoint(client: Any) -> None:
    thread_id = client.threads.create()["thread_id"]
    context = {"user": "ann", "jwt": "hush-context"}
    client.runs.wait(thread_id, "contextual", input={}, context=context)
    assert "hush-context" not in json.dumps(client.threads.get_state(thread_id))
    assert "hush-context" not in json.dumps(client.threads.get_history(thread_id))
    # What is configured is metadata of checkpoints, as on the reference, and histories are searched by it.
    client.runs.wait(thread_id, "contextual", input={}, config={"configurable": {"flavour": "mint"}})
    assert client.threads.get_state(thread_id)["metadata"]["flavour"] == "mint"
