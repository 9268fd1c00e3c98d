"""The chat of a thread: what humans, the lead agent and its tools said, by page.

The messages are those of the thread's state, under their ids there, so that updates, copies, forks and rollbacks need
no second record. Messages that a run removed from the state, such as those that a summary replaced, are read from the
checkpoints on both sides of the removal, which the metadata of later checkpoints name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import orjson

from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.message_removals import REMOVED_MESSAGES
from runstead.runtime.runs.types import CheckpointRef, ThreadId

from .state_views import ThreadState
from .states import CheckpointNotFound, ThreadStates

ROLES: Final = frozenset(("human", "ai", "tool"))
"""Types of the messages of a chat."""

Message: TypeAlias = JsonObject


class MessageNotFound(Exception):
    """The chat has no message with the id that a page should begin at."""

    def __init__(self, thread_id: ThreadId, message_id: str) -> None:
        super().__init__(f"thread {thread_id} has no message {message_id!r}; use the id of a message of a page")


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Messages in their order, and whether the chat goes on beyond them in the direction of the page."""

    messages: Sequence[Message]
    has_more: bool


class ThreadMessages:
    """Reads chats of the bound actor's threads."""

    def __init__(self, states: ThreadStates) -> None:
        self._states = states

    async def page(
        self,
        thread_id: ThreadId,
        *,
        after: str | None = None,
        before: str | None = None,
        types: Sequence[str] = (),
        limit: int = 50,
    ) -> MessagePage:
        """Return the first messages after ``after``, or the last ones (before ``before``). Raises ThreadNotFound,
        MessageNotFound.
        """
        wanted = frozenset(types) or ROLES
        state = await self._states.read(thread_id)
        chat = _messages_of(state)
        removal = _removal_of(state)
        while removal is not None and not _suffices(chat, wanted, after, before, limit):
            earlier, removal = await self._removed(thread_id, removal)
            known = {message.get("id") for message in chat}
            chat = [*(message for message in earlier if message.get("id") not in known), *chat]
        return _page(thread_id, chat, wanted, after, before, limit)

    async def _removed(self, thread_id: ThreadId, removal: _Removal) -> tuple[list[Message], _Removal | None]:
        """Return the messages that a removal took from the state, and the removal before it."""
        try:
            earlier = await self._states.read(thread_id, at=CheckpointRef(removal.before))
            later = await self._states.read(thread_id, at=CheckpointRef(removal.after))
        except CheckpointNotFound:
            # Older checkpoints were deleted: the chat begins here.
            return [], None
        kept = {message.get("id") for message in _messages_of(later)}
        removed = [message for message in _messages_of(earlier) if message.get("id") not in kept]
        return removed, _removal_of(earlier)


@dataclass(frozen=True, slots=True)
class _Removal:
    """The checkpoints before and after a step that removed messages."""

    before: str
    after: str


def _removal_of(state: ThreadState) -> _Removal | None:
    metadata = {} if state.metadata is None else orjson.loads(state.metadata)
    found = metadata.get(REMOVED_MESSAGES)
    return _Removal(found["before"], found["after"]) if isinstance(found, dict) else None


def _messages_of(state: ThreadState) -> list[Message]:
    values = orjson.loads(state.values)
    messages = values.get("messages") if isinstance(values, dict) else None
    return [one for one in messages if _is_said(one)] if isinstance(messages, list) else []


def _is_said(message: object) -> bool:
    """Return whether a human, an agent or a tool said it. A summary only stands in for messages."""
    if not isinstance(message, dict) or message.get("type") not in ROLES:
        return False
    return (message.get("additional_kwargs") or {}).get("lc_source") != "summarization"


def _place(chat: Sequence[Message], message_id: str) -> int | None:
    return next((place for place, message in enumerate(chat) if message.get("id") == message_id), None)


def _suffices(
    chat: Sequence[Message], wanted: frozenset[str], after: str | None, before: str | None, limit: int
) -> bool:
    """Return whether no earlier message can be on the page, nor be the one that shows that there are more."""
    if after is not None:
        return _place(chat, after) is not None
    end = len(chat) if before is None else _place(chat, before)
    return end is not None and sum(message["type"] in wanted for message in chat[:end]) > limit


def _page(
    thread_id: ThreadId,
    chat: Sequence[Message],
    wanted: frozenset[str],
    after: str | None,
    before: str | None,
    limit: int,
) -> MessagePage:
    start, end = 0, len(chat)
    for cursor in (after, before):
        if cursor is not None and _place(chat, cursor) is None:
            raise MessageNotFound(thread_id, cursor)
    if after is not None:
        start = (_place(chat, after) or 0) + 1
    if before is not None:
        end = _place(chat, before) or 0
    found = [message for message in chat[start:end] if message["type"] in wanted]
    page = found[:limit] if after is not None else found[max(len(found) - limit, 0) :]
    return MessagePage(page, len(found) > len(page))
