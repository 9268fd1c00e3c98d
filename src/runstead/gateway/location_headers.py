"""Location headers of runs, with which clients reconnect.

Relative to the base URL of the clients, never to the mount point: the SDKs add their own prefix.
"""

from __future__ import annotations

from runstead.runtime.runs.types import RunRecord


def run_path(record: RunRecord) -> str:
    return f"/threads/{record.thread_id}/runs/{record.run_id}"


def created_headers(record: RunRecord) -> dict[str, str]:
    """Return the headers of a response that created a run and does not wait for it."""
    return {"content-location": run_path(record)}


def wait_headers(record: RunRecord) -> dict[str, str]:
    return {"content-location": run_path(record), "location": f"{run_path(record)}/join"}


def stream_headers(record: RunRecord) -> dict[str, str]:
    """Return the headers of a stream. A stateless run is addressed without its thread, which may be gone by then."""
    path = run_path(record) if record.spec.scope.kind == "stateful" else f"/runs/{record.run_id}"
    return {"content-location": path, "location": f"{path}/stream"}
