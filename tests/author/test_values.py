"""Values of a state survive an interrupt, and context values are not stored in checkpoints."""

from __future__ import annotations

import json
from typing import Any

import pytest

SHOWN: list[tuple[str, Any, str]] = [
    ("scalar", {"scores": [0.25, 0.5, 7]}, "dict"),
    ("array", [[1.0, 2.0]], "ndarray"),
    ("frame", [{"a": 1}, {"a": 2}], "DataFrame"),
    ("complex", "1+2j", "complex"),
    ("masked", [1, None], "MaskedArray"),
    ("structured", [{"a": 1, "b": 0.5}], "ndarray"),
    ("period", "2026-01", "Period"),
    ("levels", [[1, "x"], [2, "y"]], "MultiIndex"),
    ("doubled", [{"a": 1, "a.1": 2}], "DataFrame"),
    ("error", {"error": "ValueError", "message": "boom"}, "ValueError"),
]


@pytest.mark.parametrize(("kind", "shown", "seen"), SHOWN)
def test_value_survives_an_interrupt_and_is_the_same_json_everywhere(
    client: Any, kind: str, shown: Any, seen: str
) -> None:
    thread_id = client.threads.create()["thread_id"]
    assert client.runs.wait(thread_id, "measuring", input={"kind": kind})["value"] == shown
    assert client.threads.get_state(thread_id)["values"]["value"] == shown
    assert client.threads.get(thread_id)["values"]["value"] == shown
    answered = client.runs.wait(thread_id, "measuring", command={"resume": "yes"})
    assert (answered["seen"], answered["value"]) == (seen, shown)


@pytest.mark.parametrize(("kind", "shown"), [(kind, shown) for kind, shown, _ in SHOWN])
def test_value_of_an_interrupt_is_the_same_json_as_that_of_a_state(client: Any, kind: str, shown: Any) -> None:
    thread_id = client.threads.create()["thread_id"]
    asked = client.runs.wait(thread_id, "asking", input={"kind": kind})
    assert asked["__interrupt__"][0]["value"] == shown
    state = client.threads.get_state(thread_id)
    assert state["interrupts"][0]["value"] == state["tasks"][0]["interrupts"][0]["value"] == shown
    (pending,) = client.threads.get(thread_id)["interrupts"].values()
    assert pending[0]["value"] == shown


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("lock", "__interrupt__[0].value.deep[0]: a value of type _thread.lock cannot be kept in a checkpoint; keep"),
        ("large", "__interrupt__[0].value.deep[0]: a value of type int of more than 64 bits cannot be kept in a"),
    ],
)
def test_unserializable_interrupt_value_is_named_in_the_error(client: Any, kind: str, said: str) -> None:
    thread_id = client.threads.create()["thread_id"]
    ended = client.runs.wait(thread_id, "asking", input={"kind": kind}, raise_error=False)
    assert ended["__error__"]["message"].startswith(said)


def test_unserializable_value_error_names_path_and_setting(client: Any) -> None:
    thread_id = client.threads.create()["thread_id"]
    ended = client.runs.wait(thread_id, "measuring", input={"kind": "lock"}, raise_error=False)
    message = ended["__error__"]["message"]
    assert message.startswith("value.deep[0]: a value of type _thread.lock cannot be kept in a checkpoint")
    assert "pickle_fallback" in message


def test_context_values_are_not_stored_in_checkpoints(client: Any) -> None:
    thread_id = client.threads.create()["thread_id"]
    context = {"user": "ann", "jwt": "hush-context"}
    client.runs.wait(thread_id, "contextual", input={}, context=context)
    assert "hush-context" not in json.dumps(client.threads.get_state(thread_id))
    assert "hush-context" not in json.dumps(client.threads.get_history(thread_id))
    # Configurable values are checkpoint metadata, as on the reference, and histories are searched by them.
    client.runs.wait(thread_id, "contextual", input={}, config={"configurable": {"flavour": "mint"}})
    assert client.threads.get_state(thread_id)["metadata"]["flavour"] == "mint"
