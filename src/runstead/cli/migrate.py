"""``runstead migrate``: migrate or check the database's schema; no server is needed."""

from __future__ import annotations

from runstead.bootstrap.migrations import look_at_schema, migrate_schema
from runstead.settings import Settings

from .output import Output
from .storage_command import run_on_storage


def migrate(output: Output, settings: Settings, *, check: bool) -> int:
    """Migrate or check the schema, and return the exit code: 1 if ``check`` finds an older schema."""
    found = run_on_storage(look_at_schema(settings) if check else migrate_schema(settings))
    output.line("schema", place=found.place, before=found.before, after=found.after, is_current=found.is_current)
    if found.is_current:
        changed = f"was {found.before or 'empty'} and is up" if found.before != found.after else "is up"
        output.say(f"The schema of {found.place} {changed} to date ({found.after}).")
        return 0
    output.say(f"The schema of {found.place} is {found.before or 'empty'}: run `runstead migrate`.", style="yellow")
    return 1
