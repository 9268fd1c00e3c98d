"""``runstead init``: write a new project."""

# No `from __future__ import annotations`: typer reads the annotations of commands.
from pathlib import Path
from typing import Annotated

import typer

from .options import Json
from .output import USAGE, CommandError, Output


def init(
    directory: Annotated[Path, typer.Argument(help="Directory of the project; created if it is missing.")] = Path(),
    json: Json = False,
) -> None:
    """Write an agent with a tool and an approval, its test, and a langgraph.json.

    It works without a key, and with one changed line for a provider. Overwrites nothing."""
    from .project_template import FILES

    output = Output(as_json=json)
    with output.handle_errors():
        if taken := [name for name in FILES if (directory / name).exists()]:
            problem = f"{directory.resolve()} already has {', '.join(taken)}"
            raise CommandError(problem, "name another directory: runstead init my-agent", exit_code=USAGE)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            for name, text in FILES.items():
                (directory / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{directory} cannot be written to: {error.strerror}") from error
        output.line("created", directory=directory.resolve(), files=list(FILES))
        output.say(f"Wrote {', '.join(FILES)} to {directory.resolve()}.")
        output.say("Next:" + ("" if directory == Path() else f" cd {directory} &&") + " runstead dev", style="bold")
