"""Commands of the event protocol: valid ones, mutated by the targets that send them."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st

from .values import TEXTS, values

_CHANNELS: Final = ("values", "updates", "messages", "tools", "custom", "lifecycle", "input", "tasks", "checkpoints")


def commands(checkpoint_id: str) -> st.SearchStrategy[Any]:
    """One command with its envelope."""
    texts = st.sampled_from(TEXTS)
    channels = st.lists(st.one_of(st.sampled_from(_CHANNELS), texts), max_size=3)
    namespaces = st.lists(st.lists(texts, max_size=2), max_size=2)
    message = {"role": st.sampled_from(("user", "system")), "content": texts}
    params: dict[str, dict[str, st.SearchStrategy[Any]]] = {
        "subscription.subscribe": {"channels": channels, "namespaces": namespaces, "since": st.integers(-1, 9)},
        "subscription.unsubscribe": {"subscription_id": texts},
        "subscription.reconnect": {"since": st.integers(-1, 9)},
        "run.start": {"assistant_id": st.sampled_from(("echo", "asks")), "input": values},
        "input.respond": {"interrupt_id": texts, "response": values, "responses": st.lists(values, max_size=2)},
        "input.inject": {"message": st.fixed_dictionaries(message), "namespace": st.lists(texts, max_size=2)},
        "state.get": {"keys": st.lists(texts, max_size=2), "namespace": st.lists(texts, max_size=2)},
        "state.listCheckpoints": {"limit": st.integers(-1, 1_001), "before": texts},
        "state.fork": {"checkpoint_id": st.one_of(st.just(checkpoint_id), texts), "input": values},
        "agent.getTree": {},
    }
    return st.one_of(
        [
            st.fixed_dictionaries(
                {"id": st.integers(0, 9), "method": st.just(method)}
                # Few at a time, so that many are valid.
                | {"params": st.fixed_dictionaries({}, optional=fields)}
            )
            for method, fields in params.items()
        ]
    )
