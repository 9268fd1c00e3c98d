"""Chat channels in storage: which chat user is which account, and messages from their receipt until they are answered.

The chat services themselves are in `runstead.channels`.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol, TypeAlias

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.json_types import JsonMapping
from runstead.runtime.runs.types import RunId, ThreadId

CODE_LIFETIME: Final = timedelta(minutes=10)
"""Lifetime of a one-time code that links a chat user to an account."""
CHANNEL_SOURCE: Final = "channel:"
"""Begins the ``auth_source`` of actors in chat services; the name of the service follows."""
MAX_LINKS: Final = 100
"""Chat users that one account can have linked."""

MessageStatus: TypeAlias = Literal["received", "running", "ended"]
"""``received``: no run yet. ``running``: it has a run, whose answer is not complete. ``ended``: answered, or given
up."""


class LinkNotFound(Exception):
    """The account has no such link."""

    def __init__(self, provider: str, chat_user_id: str) -> None:
        super().__init__(f"No chat user {chat_user_id[:100]!r} of {provider[:100]!r} is linked to your account")


class ChannelNotFound(Exception):
    """The server has no such channel, or it does not receive its messages over HTTP."""

    def __init__(self, provider: str) -> None:
        super().__init__(f"This server receives no messages of {provider[:100]!r} here; see docs/channels.md")


class InvalidSignature(Exception):
    """A request to a channel's address is not from its chat service: the signature or secret is wrong."""


def new_code() -> str:
    """Return a new one-time code, of 128 random bits."""
    return secrets.token_urlsafe(16)


def digest_of(code: str) -> str:
    """Return the digest under which a one-time code is stored."""
    return hashlib.sha256(code.strip().encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class ChatUser:
    """User of a chat service. ``workspace`` is the service's team, tenant or bot in which the id is unique."""

    provider: str
    workspace: str
    user_id: str


@dataclass(frozen=True, slots=True)
class ChannelLink:
    """Link of a chat user to an account. ``actor`` is the account as it was authenticated when it made the code."""

    chat_user: ChatUser
    actor: ActorContext
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Conversation:
    """Conversation of one chat user with the bot: what one person writes in one chat, or in one thread of it.

    In a group, each person has a conversation of their own, since a thread belongs to one account.
    """

    provider: str
    workspace: str
    chat_id: str
    user_id: str

    @property
    def chat_user(self) -> ChatUser:
        return ChatUser(self.provider, self.workspace, self.user_id)

    @property
    def lease_name(self) -> str:
        return "\n".join(("conversation", self.provider, self.workspace, self.chat_id, self.user_id))


@dataclass(frozen=True, slots=True)
class NewChannelMessage:
    """Message as a chat service delivered it. ``message_id`` is the same when the service delivers it again.

    ``payload`` is JSON: what `runstead.channels` needs to answer it.
    """

    conversation: Conversation
    message_id: str
    payload: JsonMapping


@dataclass(frozen=True, slots=True)
class ChannelMessage:
    """Stored message. ``due_at`` is when it is handled, later after a failure. ``attempts`` counts failures since the
    last progress, which is JSON: what has been sent in answer."""

    seq: int
    conversation: Conversation
    message_id: str
    status: MessageStatus
    payload: JsonMapping
    received_at: datetime
    due_at: datetime
    run_id: RunId | None = None
    thread_id: ThreadId | None = None
    attempts: int = 0
    progress: JsonMapping = field(default_factory=dict)


class ChannelLinkStore(Protocol):
    """Links of chat users to accounts."""

    async def create_code(self, digest: str) -> datetime:
        """Store the digest of a new one-time code of the bound actor; return when it expires."""
        ...

    async def redeem(self, digest: str, chat_user: ChatUser) -> ChannelLink | None:
        """Use up a code, and link the chat user to its account in place of an earlier link.

        Return None for a code that is unknown, expired, or used by another chat user. For the chat user who has used
        it, repeating returns the link while it exists, and does not make it again.
        """
        ...

    async def delete_code(self, digest: str) -> None:
        """Delete a code that others may have read."""
        ...

    async def find(self, chat_user: ChatUser) -> ChannelLink | None: ...

    async def delete_of_subject(self, auth_source: str, subject_id: str) -> int:
        """Delete all links that an identity has made; return their number. Not limited to an actor."""
        ...

    async def list_links(self) -> Sequence[ChannelLink]:
        """Return the links of the bound actor's account, oldest first."""
        ...

    async def delete(self, provider: str, chat_user_id: str, workspace: str | None = None) -> bool:
        """Delete links of the bound actor's account; return False if there is none."""
        ...


class ChannelMessageStore(Protocol):
    """Messages and their conversations. Not limited to an actor: for the server's own channels only."""

    async def add(self, message: NewChannelMessage) -> bool:
        """Store a message; return False if it is stored already. When this returns, it survives a crash."""
        ...

    async def list_waiting(self, providers: Sequence[str], limit: int) -> Sequence[Conversation]:
        """Return conversations of these services with a message that is due and has not ended, oldest message first."""
        ...

    async def list_open(self, conversation: Conversation) -> Sequence[ChannelMessage]:
        """Return the messages of a conversation that have not ended, in the order of their receipt."""
        ...

    async def get(self, seq: int) -> ChannelMessage | None: ...

    async def set_run(self, seq: int, run_id: RunId, thread_id: ThreadId) -> None:
        """Record the run of a message, which is ``running`` from now on."""
        ...

    async def set_progress(self, seq: int, progress: JsonMapping) -> None:
        """Record what has been sent in answer, and reset ``attempts``."""
        ...

    async def postpone(self, seq: int, until: datetime) -> None:
        """Record a failure, and when to try again."""
        ...

    async def end(self, seq: int) -> None:
        """Mark a message as answered or given up, and delete its payload."""
        ...

    async def thread_of(self, conversation: Conversation, actor: ActorContext) -> ThreadId | None:
        """Return the thread of a conversation under this account."""
        ...

    async def set_thread(self, conversation: Conversation, actor: ActorContext, thread_id: ThreadId) -> None: ...


class ChannelLeaseStore(Protocol):
    """Leases by name, so that one process at a time receives for a bot, or answers in a conversation."""

    async def claim(self, name: str, holder: str, term: timedelta) -> bool:
        """Claim or renew a lease; return False while another holder has it."""
        ...

    async def release(self, name: str, holder: str) -> None: ...

    async def release_all(self) -> None:
        """Release the leases of processes that are known to have ended."""
        ...
