"""Where a run is found again: the headers that clients reconnect by.

Relative to the base URL that clients were given, never to the mount point: the SDKs put their own prefix before them.
"""

from __future__ import annotations

from runstead.runtime.runs.types import RunRecord


def run_path(record: RunRecord) -> str:
    return f"/threads/{record.thread_id}/runs/{record.run_id}"


def created_headers(record: RunRecord) -> dict[str, str]:
    """Of an answer that created a run and does not wait for it."""
    return {"content-location": run_path(record)}


def wait_headers(record: RunRecord) -> dict[str, str]:
    return {"content-location": run_path(record), "location": f"{run_path(record)}/join"}


def stream_headers(record: RunRecord) -> dict[str, str]:
    """A stateless run is found without its thread, which may be gone by then."""
    path = run_path(record) if record.spec.scope.kind == "stateful" else f"/runs/{record.run_id}"
    return {"content-location": path, "location": f"{path}/stream"}
