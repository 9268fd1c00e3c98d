"""What can go wrong between a publisher, a stream and its readers."""

from __future__ import annotations


class StreamBridgeError(Exception):
    """Root of what a stream bridge raises."""


class StreamNotFound(StreamBridgeError):
    """No stream is kept for this run: it was never opened, or its time has passed."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"no stream is kept for run {run_id}")


class StreamTerminated(StreamBridgeError):
    """Something was published after the stream's terminal event."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"the stream of run {run_id} has ended; nothing can be published to it")


class StaleAttempt(StreamBridgeError):
    """A late worker published for an attempt that has been succeeded by another."""

    def __init__(self, run_id: str, attempt: int, current: int) -> None:
        self.run_id, self.attempt, self.current = run_id, attempt, current
        super().__init__(f"attempt {attempt} of run {run_id} is over; attempt {current} publishes now")


class BridgeClosed(StreamBridgeError):
    """The bridge is shutting down. Says nothing about any run: read again elsewhere, or later."""

    def __init__(self) -> None:
        super().__init__("the stream bridge is closed; reconnect to go on reading")


class CapacityExceeded(StreamBridgeError):
    """The bridge keeps as many streams as it may, and each of them is in use."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"all {limit} streams are in use; raise the stream limit or try again later")


class BridgeUnavailable(StreamBridgeError):
    """The place where streams are kept does not answer at the moment. Says nothing about any run."""

    def __init__(self, details: str) -> None:
        self.details = details
        # Clients are told this, and where streams are kept is not their business.
        super().__init__("streams cannot be reached at the moment; the run goes on, try again in a moment")
