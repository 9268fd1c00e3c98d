"""Values of a state survive an interrupt."""

from __future__ import annotations

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
