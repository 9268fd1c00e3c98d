"""Texts of the bot itself, and the splitting of long texts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

HELP: Final = """\
Write to me, and the agent answers.
/new - begin a new conversation
/stop - stop the running answer
/status - what the agent is doing
/usage - tokens of this conversation
/link CODE - link this chat to your account
/help - this text"""
NOT_LINKED: Final = """\
This chat is not linked to an account yet. Get a code with `runstead channels link` or from your administrator, and \
send it to me in a private chat within 10 minutes: /link CODE"""
NOT_PRIVATE: Final = """\
Others can read this chat, so the code is void now. Get a new one, and send it to me in a private chat."""
WRONG_CODE: Final = "This code is unknown, used or expired. Get a new one; it is valid for 10 minutes and one use."
LINKED: Final = "This chat is linked to {user} now. Write to me, and the agent answers. /help lists the commands."
ACCESS_REVOKED: Final = "The access with which this chat was linked was revoked. Link it again: /link CODE"
NEW_CONVERSATION: Final = "A new conversation begins with your next message."
NOTHING_RUNS: Final = "Nothing is running."
STOPPING: Final = "Stopped."
NOT_YOURS: Final = "Only the person whom the agent asks can press this button."
ANSWERED: Final = "This question is not open any more."
NOT_A_CHOICE: Final = "Answer the question above first: with one of {choices}, or begin anew with /new."
WORKING: Final = "…"
NO_TEXT: Final = "Done."
STOPPED: Final = "(stopped)"
FAILED: Final = "The agent failed: {problem}"


def length(text: str) -> int:
    """Return the length as chat services count it: in UTF-16 units."""
    return len(text) + sum(ord(char) > 0xFFFF for char in text)


def split(text: str, limit: int) -> list[str]:
    """Split a text into parts of at most ``limit`` units, between paragraphs, lines or words where possible.

    Later text does not change the parts before the last one, so that an answer can be sent while it grows.
    """
    parts = []
    rest = text
    while length(rest) > limit:
        head = _head(rest, limit)
        cut = _cut(head)
        parts.append(head[:cut].rstrip() or head)
        rest = rest[cut:].lstrip("\n")
    if rest.strip() or not parts:
        parts.append(rest)
    return parts


def numbered(text: str, choices: Sequence[str]) -> str:
    """Return a question with its choices, for services without buttons."""
    return "\n".join([text, *(f"{number}. {choice}" for number, choice in enumerate(choices, 1))])


def _head(text: str, limit: int) -> str:
    """Return as many leading characters as fit."""
    size = 0
    for place, char in enumerate(text[: limit + 1]):
        size += 2 if ord(char) > 0xFFFF else 1
        if size > limit:
            return text[:place]
    return text[:limit]


def _cut(head: str) -> int:
    """Return where a part should end: in the second half of what fits, at the best boundary."""
    for boundary in ("\n\n", "\n", " "):
        found = head.rfind(boundary)
        if found >= len(head) // 2:
            return found + len(boundary)
    return len(head)
