"""Payload of a ``gap`` event, for a reader that has missed events and must recover.

``from``, ``to`` and ``missed`` describe the missed events. The other fields are those of DeerFlow's gateway, whose
frontend checks them: it loads the thread's state and joins again with ``latest_available_event_id``.
"""

from __future__ import annotations

from typing import Final

from .contract import ResumeResult

GAP: Final = "gap"
"""Name of the event."""


def gap_payload(run_id: str | None, resumed: ResumeResult, rejoin: str) -> dict[str, object]:
    """Return the payload for a reader that was ``resumed`` with a gap.

    A client that returns with ``rejoin`` gets everything that is still kept, and no second gap. ``run_id`` is None for
    a stream of more than one run.
    """
    return {
        "from": resumed.requested,
        "to": resumed.oldest,
        "missed": resumed.gap_count,
        "code": "stream_replay_gap",
        "run_id": run_id,
        "requested_event_id": resumed.requested,
        "earliest_available_event_id": resumed.oldest or rejoin,
        "latest_available_event_id": rejoin,
        "recovery": "reload_durable_state",
    }
