"""The payload of a ``gap`` event, for tests that compare it completely."""

from __future__ import annotations


def gap_event_data(
    run_id: str | None, from_: str | None, to: str | None, missed: int | None, rejoin: str
) -> dict[str, object]:
    """Return the payload for a reader that missed what lies between two ids, and comes back with ``rejoin``."""
    return {
        "from": from_,
        "to": to,
        "missed": missed,
        "run_id": run_id,
        "code": "stream_replay_gap",
        "recovery": "reload_durable_state",
        "requested_event_id": from_,
        "earliest_available_event_id": to or rejoin,
        "latest_available_event_id": rejoin,
    }
