"""Stream semantics: the contract of the event channel. Adapters live in `runstead.infra.stream_bridge`."""

from .contract import (
    CANCELLED_SENTINEL,
    END_SENTINEL,
    HEARTBEAT_SENTINEL,
    LIVE,
    ResumeResult,
    ResumeStatus,
    Sentinel,
    StreamBridge,
    StreamEvent,
    StreamItem,
    StreamStatus,
    StreamSubscription,
    TerminalKind,
)
from .exceptions import (
    BridgeClosed,
    BridgeUnavailable,
    CapacityExceeded,
    StaleAttempt,
    StreamBridgeError,
    StreamNotFound,
    StreamTerminated,
)

__all__ = [
    "CANCELLED_SENTINEL",
    "END_SENTINEL",
    "HEARTBEAT_SENTINEL",
    "LIVE",
    "BridgeClosed",
    "BridgeUnavailable",
    "CapacityExceeded",
    "ResumeResult",
    "ResumeStatus",
    "Sentinel",
    "StaleAttempt",
    "StreamBridge",
    "StreamBridgeError",
    "StreamEvent",
    "StreamItem",
    "StreamNotFound",
    "StreamStatus",
    "StreamSubscription",
    "StreamTerminated",
    "TerminalKind",
]
