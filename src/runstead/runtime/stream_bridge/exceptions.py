"""Exceptions of stream bridges, for publishers and readers."""

from __future__ import annotations


class StreamBridgeError(Exception):
    """Base class of the errors of a stream bridge."""


class StreamNotFound(StreamBridgeError):
    """No stream is kept for this run: it was never opened, or its retention has ended."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"no stream is kept for run {run_id}")


class StreamTerminated(StreamBridgeError):
    """An event was published after the stream's terminal event."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"the stream of run {run_id} has ended; nothing can be published to it")


class StaleAttempt(StreamBridgeError):
    """A late worker published for an attempt that another attempt has succeeded."""

    def __init__(self, run_id: str, attempt: int, current: int) -> None:
        self.run_id, self.attempt, self.current = run_id, attempt, current
        super().__init__(f"attempt {attempt} of run {run_id} is over; attempt {current} publishes now")


class BridgeClosed(StreamBridgeError):
    """The bridge is shutting down. Independent of any run: read again elsewhere, or later."""

    def __init__(self) -> None:
        super().__init__("the stream bridge is closed; reconnect to go on reading")


class CapacityExceeded(StreamBridgeError):
    """The bridge holds its maximum number of streams, and all of them are in use."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"all {limit} streams are in use; raise the stream limit or try again later")


class BridgeUnavailable(StreamBridgeError):
    """The server of the streams is not reachable at present. Independent of any run."""

    def __init__(self, details: str) -> None:
        self.details = details
        # Clients see this text, which must not reveal where streams are kept.
        super().__init__("streams cannot be reached at the moment; the run goes on, try again in a moment")
