"""Build the documentation as a site, without network:  VENV/bin/python -I .ci/docs.py [--out build/site]

The pages are those of docs/, and some that are generated from the code: routes of the HTTP API, commands, Python API,
examples, changelog. The build is strict: a broken link or anchor fails it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
PAGES_OF_THE_ROOT: Final = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
}
LINK: Final = re.compile(
    r"(!?)\[(?P<text>[^\]]*)\]\((?P<target>(?!https?://|#|mailto:)[^)#\s]+)(?P<anchor>#[^)\s]*)?\)"
)
FENCE: Final = re.compile(r"^```(\w+) [\w-]+$", re.MULTILINE)
PYTHON_API: Final = (
    "runstead.bootstrap.application.Application",
    "runstead.settings.Settings",
    "runstead.runtime.actor_context.ActorContext",
    "runstead.runtime.actor_context.acting",
    "runstead.runtime.runs.facade.RunsFacade",
    "runstead.runtime.runs.types.RunSpec",
    "runstead.runtime.runs.types.RunScope",
)


def relinked(text: str, page: Path, docs: Path) -> str:
    """Return a page with links for the site; for a file that is only in the repository, its name."""

    def replace(link: re.Match[str]) -> str:
        target = (page.parent / link["target"]).resolve()
        name = target.relative_to(ROOT).as_posix() if target.is_relative_to(ROOT) else ""
        if name == "README.md":
            name = "docs/index.md"
        elif name in PAGES_OF_THE_ROOT:
            name = f"docs/{PAGES_OF_THE_ROOT[name]}"
        elif name.startswith("examples"):
            name = "docs/examples.md"
        if not name.startswith("docs/"):
            return link["text"] if link["text"].startswith("`") else f"{link['text']} (`{name}`)"
        # Files of the root and of the examples become pages at the top of the site.
        start = page.parent.relative_to(docs) if page.is_relative_to(docs) else Path()
        path = os.path.relpath(name.removeprefix("docs/").rstrip("/") or "index.md", start)
        anchor = link["anchor"] or ""
        return f"{link[1]}[{link['text']}]({path}{anchor if not name.endswith('examples.md') else ''})"

    return FENCE.sub(r"```\1", LINK.sub(replace, text))


def http_page() -> str:
    """Return the routes of the HTTP API by subject, from a server's own description."""
    from runstead import Application

    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "langgraph.json"
        config.write_text(json.dumps({"graphs": {"agent": "runstead.graphs.demo:agent"}}), encoding="utf-8")
        described = Application.from_file(config, data_dir=Path(folder) / "data").asgi.openapi()
    by_tag: dict[str, list[str]] = {}
    for path, methods in described["paths"].items():
        for method, route in methods.items():
            query = [one["name"] for one in route.get("parameters", ()) if one["in"] != "path"]
            text = " ".join(str(route.get("description") or "").split())
            named = ", ".join(f"`{name}`" for name in query)
            row = f"| `{method.upper()} {path}` | {route['summary']} | {named} | {text} |"
            by_tag.setdefault(route["tags"][0], []).append(row.replace("``", "`"))
    lines = [
        "# HTTP API",
        "",
        "A running server describes itself: `GET /openapi.json`, and `GET /docs` for people. The fields of a request "
        "for a run are in [runs](run.md#what-a-request-for-a-run-may-say). Errors are JSON with the field `detail`.",
    ]
    for tag, rows in by_tag.items():
        lines += [
            "",
            f"## {tag.capitalize()}",
            "",
            "| route | | query and headers | |",
            "| --- | --- | --- | --- |",
            *rows,
        ]
    return "\n".join(lines) + "\n"


def cli_page() -> str:
    """Return all commands with their arguments and options."""
    import typer
    from typer.core import TyperGroup

    from runstead.cli.main import app

    def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
        if isinstance(command, TyperGroup):
            for sub, inner in command.commands.items():
                yield from commands(inner, f"{name} {sub}")
        else:
            yield name, command

    lines = [
        "# Command line",
        "",
        "`runstead COMMAND --help` prints the same. All settings are in [settings](settings.md).",
    ]
    for name, command in commands(typer.main.get_command(app), "runstead"):
        help_text = re.sub(r"\s*\n\s*\n\s*", "\n\n", (command.help or "").strip())
        lines += ["", f"## {name}", "", help_text, ""]
        parameters = [one for one in command.params if getattr(one, "help", None)]
        if parameters:
            lines += ["| | |", "| --- | --- |"]
        for one in parameters:
            spelling = (
                ", ".join([*one.opts, *one.secondary_opts])
                if one.param_type_name == "option"
                else str(one.name).upper()
            )
            text = " ".join(str(one.help).split()).replace("|", "\\|")
            lines.append(f"| `{spelling.replace('|', ' ')}` | {text} |")
    return "\n".join(lines) + "\n"


def python_page() -> str:
    """Return directives that mkdocstrings turns into the Python API."""
    head = (
        "# Python API\n\n`from runstead import Application, ...` gives the names on this page. Everything that "
        "embedding the kernel needs is exported by `runstead.runtime`.\n"
    )
    return head + "".join(f"\n::: {name}\n" for name in PYTHON_API)


def examples_page() -> str:
    """Return the examples, each with its README and its files."""
    folder = ROOT / "examples"
    parts = [(folder / "README.md").read_text(encoding="utf-8")]
    for example in sorted(one for one in folder.iterdir() if one.is_dir()):
        readme = (example / "README.md").read_text(encoding="utf-8")
        parts.append(re.sub(r"^# ", "## ", readme, count=1, flags=re.MULTILINE))
        for file in sorted(example.glob("*.*")):
            language = {".py": "python", ".json": "json", ".toml": "toml"}.get(file.suffix)
            if language:
                parts.append(f"`{file.name}`\n\n```{language}\n{file.read_text(encoding='utf-8').strip()}\n```\n")
    return "\n".join(parts)


def write_pages(to: Path) -> None:
    """Write all pages of the site into a folder."""
    docs = ROOT / "docs"
    shutil.copytree(docs, to)
    for page in sorted(docs.rglob("*.md")):
        (to / page.relative_to(docs)).write_text(
            relinked(page.read_text(encoding="utf-8"), page, docs), encoding="utf-8"
        )
    for name, page_name in PAGES_OF_THE_ROOT.items():
        text = relinked((ROOT / name).read_text(encoding="utf-8"), ROOT / name, docs)
        (to / page_name).write_text(text, encoding="utf-8")
    made = {"http.md": http_page(), "cli.md": cli_page(), "python.md": python_page()}
    made["examples.md"] = relinked(examples_page(), ROOT / "examples" / "chat_agent" / "README.md", docs)
    for name, text in made.items():
        (to / name).write_text(text, encoding="utf-8")


def main() -> int:
    """Write the pages and build the site from them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site", help="folder of the site")
    out: Path = parser.parse_args().out.resolve()
    # The tool requires its pages and its output next to its configuration.
    with tempfile.TemporaryDirectory(prefix="runstead-docs-") as folder:
        work = Path(folder)
        write_pages(work / "docs")
        shutil.copy(ROOT / ".ci" / "zensical.toml", work / "zensical.toml")
        (work / "src").symlink_to(ROOT / "src")
        done = subprocess.run([sys.executable, "-m", "zensical", "build", "--strict"], cwd=work, check=False)
        if done.returncode == 0:
            shutil.rmtree(out, ignore_errors=True)
            shutil.copytree(work / "site", out)
            print(f"the site is in {out}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
