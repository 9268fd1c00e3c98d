"""Access of a chat user to an account by a link: checked when a message comes, and while an answer is open."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

from runstead.resources.channels import ChannelLink, ChatUser
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.types import ThreadId

from .ports import ChannelServices
from .runs import actor_of

_log = logging.getLogger(__name__)


class AccessRevoked(Exception):
    """The link of a chat user is deleted or gives no access any more, or the run was stopped for this reason."""

    def __init__(self) -> None:
        super().__init__("a chat user has no access any more")


async def while_linked(
    services: ChannelServices, link: ChannelLink, thread_id: ThreadId | None, work: Coroutine[object, object, None]
) -> None:
    """Do ``work`` for a linked chat user, and cancel it when the link ends. Raises AccessRevoked, and its errors."""
    with acting(actor_of(link)):
        working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_revoked(services, link, thread_id))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await watching
            raise AccessRevoked
        await working
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def is_linked(services: ChannelServices, link: ChannelLink) -> bool:
    """Return False if the link was deleted, or replaced by that of another account."""
    current = await services.stores.links.find(link.chat_user)
    return current is not None and _is_of_same_account(current, link)


async def _revoked(services: ChannelServices, link: ChannelLink, thread_id: ThreadId | None) -> None:
    """Return when the link gives no access any more."""
    while True:
        await services.clock.sleep(services.access_check_seconds)
        try:
            current = await services.stores.links.find(link.chat_user)
            if current is None or not _is_of_same_account(current, link) or await services.rules.is_revoked(current):
                return
            with acting(actor_of(current)):
                if thread_id is not None and not await services.rules.may_read(thread_id):
                    return
        except Exception:
            # A failing check revokes nothing.
            _log.warning("could not check the access of a chat user of %s", _name(link.chat_user), exc_info=True)


def _is_of_same_account(one: ChannelLink, other: ChannelLink) -> bool:
    return (one.actor.tenant_id, one.actor.user_id) == (other.actor.tenant_id, other.actor.user_id)


def _name(chat_user: ChatUser) -> str:
    return chat_user.provider
