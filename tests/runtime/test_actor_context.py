"""The acting user, and refusal of actions without one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from runstead.runtime import (
    AUTO,
    DEFAULT_USER_ID,
    ActorContext,
    ActorRequired,
    acting,
    bind_actor_context,
    get_actor_context,
    get_effective_user_id,
    require_actor_context,
    reset_actor_context,
    resolve_user_id,
)


def test_no_actor_at_a_boundary_raises_and_names_the_boundary() -> None:
    assert get_actor_context() is None
    with pytest.raises(ActorRequired, match="creating a run needs an actor"):
        require_actor_context("creating a run")
    with pytest.raises(ActorRequired):
        resolve_user_id(AUTO)


def test_binding_nests_and_is_restored() -> None:
    token = bind_actor_context(ActorContext("ada"))
    with acting(ActorContext("bob")):
        assert resolve_user_id() == "bob"
    assert require_actor_context().user_id == "ada"
    reset_actor_context(token)
    assert get_actor_context() is None


def test_only_explicit_none_is_unscoped() -> None:
    with acting(ActorContext("ada")):
        assert resolve_user_id(None) is None
        assert resolve_user_id("carol") == "carol"


def test_log_name_is_always_set() -> None:
    assert get_effective_user_id() == DEFAULT_USER_ID
    with acting(ActorContext("ada")):
        assert get_effective_user_id() == "ada"


@pytest.mark.parametrize("fields", [{"user_id": ""}, {"user_id": "a", "tenant_id": ""}])
def test_actor_without_a_name_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not empty"):
        ActorContext(**fields)


def test_actor_survives_storage() -> None:
    actor = ActorContext("ada", "acme", "subject", frozenset({"b", "a"}), "api_key")
    assert ActorContext.from_json(actor.to_json()) == actor


async def test_task_acts_for_the_actor_that_started_it() -> None:
    async def who() -> str | None:
        await asyncio.sleep(0)
        return resolve_user_id()

    with acting(ActorContext("ada")):
        first = asyncio.create_task(who())
    with acting(ActorContext("bob")):
        second = asyncio.create_task(who())
    assert (await first, await second) == ("ada", "bob")
