"""Stream semantics: the contract of the event channel. Adapters live in `runstead.infra.stream_bridge`."""

from .contract import (
    CANCELLED_SENTINEL,
    END_SENTINEL,
    FROM_THE_START,
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
from .event_ids import numbers_of, position_after, position_before
from .exceptions import (
    BridgeClosed,
    BridgeUnavailable,
    CapacityExceeded,
    StaleAttempt,
    StreamBridgeError,
    StreamNotFound,
    StreamTerminated,
)
from .gap import GAP, gap_payload

__all__ = [
    "CANCELLED_SENTINEL",
    "END_SENTINEL",
    "FROM_THE_START",
    "GAP",
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
    "gap_payload",
    "numbers_of",
    "position_after",
    "position_before",
]
