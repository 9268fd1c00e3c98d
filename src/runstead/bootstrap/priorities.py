"""Order in which pending runs begin: first come, first served; by turns of users; or by a priority function."""

from __future__ import annotations

from runstead.graphs.configuration import GraphConfiguration
from runstead.graphs.modules import GraphLoadError, extend_search_path, load_variable
from runstead.graphs.sources import SourceError, parse_source
from runstead.handlers.priority import Assign, InvalidPriority, LangGraphPriority, check_priority
from runstead.infra.storage.assistants import SqlAssistantStore
from runstead.infra.storage.database import Database
from runstead.infra.storage.thread_priorities import SqlThreadPriorityStore
from runstead.runtime.clock import Clock
from runstead.runtime.runs.scheduling import RunScheduler, UserScheduler
from runstead.runtime.user_code.user_loop import UserLoop
from runstead.settings import Settings

from .encryption_handlers import EncryptedStores
from .unsupported import UnsupportedConfiguration, auth_mode


def has_turns(settings: Settings, configuration: GraphConfiguration) -> bool:
    """Return whether groups of runs take turns on this server: with authentication, or with a priority function."""
    return configuration.priority.path is not None or auth_mode(settings, configuration) != "none"


def reserved_slots(settings: Settings, configuration: GraphConfiguration) -> int:
    """Return the number of slots that are reserved for runs of groups that have no executing run."""
    if not has_turns(settings, configuration):
        return 0
    slots = settings.max_concurrent_runs
    return slots // 8 if settings.reserved_slots is None else min(settings.reserved_slots, max(slots - 1, 0))


def load_priority(configuration: GraphConfiguration) -> Assign | None:
    """Load the priority function that langgraph.json names; None if none is named. Runs the user's module, so it
    blocks.

    Raises UnsupportedConfiguration, since runs would begin in another order than the operator configured.
    """
    target = configuration.priority.path
    if target is None:
        return None
    place = f"{configuration.file or configuration.directory}: priority.path"
    extend_search_path(configuration.search_paths)
    try:
        return check_priority(load_variable(parse_source("priority", target, configuration.directory)))
    except SourceError as error:
        raise UnsupportedConfiguration(f"{place}: {error.problem}") from error
    except GraphLoadError as error:
        raise UnsupportedConfiguration(f"{place}: {target} cannot be loaded: {error.problem}") from error
    except InvalidPriority as error:
        raise UnsupportedConfiguration(f"{place}: {target} cannot be used: {error}") from error


def run_scheduler(
    settings: Settings,
    configuration: GraphConfiguration,
    assign: Assign | None,
    database: Database,
    clock: Clock,
    user_loop: UserLoop,
    handled: EncryptedStores,
) -> RunScheduler | None:
    """Return the scheduler of new runs; None if they begin simply in the order of their due times."""
    if assign is not None:
        assistants = handled.assistants(SqlAssistantStore(database, clock))
        threads = handled.thread_priorities(SqlThreadPriorityStore(database))
        return LangGraphPriority(assign, user_loop, threads, assistants, settings.graph_priorities)
    return UserScheduler(settings.graph_priorities) if has_turns(settings, configuration) else None
