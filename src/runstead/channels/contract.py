"""Contract of a channel: what a chat service's adapter implements, and the messages that it passes on.

An adapter only translates. Linking, threads, runs, order, splitting and retries are the same for all channels.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from runstead.wire.channels import ChannelRequest, ChannelResponse


class RetryLater(Exception):
    """The service refused a call because it came too early. ``seconds``: when to repeat it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = max(seconds, 0.0)
        super().__init__(f"the service asks to wait {self.seconds:g} s")


class Undeliverable(Exception):
    """The service will never accept the call: the chat is gone, or the user has blocked the bot."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Abilities and limits of a service.

    ``edits``: sent messages can be changed, so that answers grow while they are written. ``edit_seconds`` is the
    shortest time between two messages or changes in a private chat, ``group_seconds`` in a group. ``buttons``:
    messages can have buttons; otherwise choices are numbered, and answered by their number. ``files``: files can be
    sent and downloaded, the former up to ``max_file_bytes``. ``threads``: a chat has threads of its own, which are part
    of the ``chat_id``. ``max_text`` is the maximum length of a message, in UTF-16 units.
    """

    edits: bool = False
    buttons: bool = False
    files: bool = False
    threads: bool = False
    max_text: int = 4_000
    max_file_bytes: int = 20 * 1024 * 1024
    edit_seconds: float = 1.0
    group_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class IncomingFile:
    """File that a user has sent. ``file_id`` is what `Channel.download` needs."""

    file_id: str
    name: str
    size: int | None = None


@dataclass(frozen=True, slots=True)
class IncomingMessage:
    """Message or press of a button, as the service delivered it.

    ``workspace`` is the service's team, tenant or bot in which ``user_id`` is unique. ``chat_id`` is the chat, with its
    thread if the service has threads. ``message_id`` is unique in the workspace, and the same when the service delivers
    the message again. ``button`` is the data of a pressed button. ``is_private``: no other user reads the chat.
    """

    workspace: str
    chat_id: str
    user_id: str
    message_id: str
    text: str = ""
    files: tuple[IncomingFile, ...] = ()
    button: str | None = None
    is_private: bool = True


@dataclass(frozen=True, slots=True)
class Button:
    """Button below a message. ``data`` has at most 64 bytes and comes back when it is pressed."""

    label: str
    data: str


Receive: TypeAlias = Callable[[IncomingMessage], Awaitable[None]]
"""Stores a message. Confirm a delivery to the service only after this has returned: it is then safe from crashes."""


class Channel(Protocol):
    """Adapter of one chat service, for one bot. Called on the server's event loop: it must not block.

    Calls raise RetryLater, Undeliverable, or any other error of the network, after which they are repeated.
    """

    @property
    def provider(self) -> str:
        """Name of the service, such as ``telegram``; part of addresses and stored keys."""
        ...

    @property
    def capabilities(self) -> Capabilities: ...

    async def serve(self, receive: Receive) -> None:
        """Receive messages until cancelled. At most one process of a cluster does so at a time.

        An adapter that receives over HTTP registers its address if the service wants that, and returns.
        """
        ...

    async def webhook(self, request: ChannelRequest, receive: Receive) -> ChannelResponse:
        """Receive over HTTP. Raises InvalidSignature for a request that is not from the service."""
        ...

    async def send(self, chat_id: str, text: str, buttons: Sequence[Button] = (), *, key: str = "") -> str:
        """Send a message; return its id. ``key`` is the same if the call is repeated after a crash."""
        ...

    async def edit(self, chat_id: str, message_id: str, text: str, buttons: Sequence[Button] = ()) -> None:
        """Replace text and buttons of a sent message. Only called with ``capabilities.edits``."""
        ...

    async def delete(self, chat_id: str, message_id: str) -> None:
        """Delete a sent message. Only called with ``capabilities.edits``."""
        ...

    async def send_file(self, chat_id: str, name: str, content: bytes) -> None:
        """Send a file. Only called with ``capabilities.files``."""
        ...

    def download(self, file: IncomingFile) -> AsyncIterator[bytes]:
        """Yield the content of a file that a user has sent. Only called with ``capabilities.files``."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
