"""Chat services as entries to the server, beside HTTP: message in, actor, thread, run, reply. (docs/channels.md)

`Channel` is the contract; the other modules are shared by all channels, and the adapters of services import nothing of
each other. Nothing here imports a service's SDK but its own adapter.
"""

from runstead.resources.channels import InvalidSignature
from runstead.wire.channels import ChannelRequest, ChannelResponse

from .contract import (
    Button,
    Capabilities,
    Channel,
    IncomingFile,
    IncomingMessage,
    Receive,
    RetryLater,
    Undeliverable,
)

__all__ = [
    "Button",
    "Capabilities",
    "Channel",
    "ChannelRequest",
    "ChannelResponse",
    "IncomingFile",
    "IncomingMessage",
    "InvalidSignature",
    "Receive",
    "RetryLater",
    "Undeliverable",
]
