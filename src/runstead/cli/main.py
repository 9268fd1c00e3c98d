"""The commands and their options. Each imports what it needs when it is called: a test keeps ``--help`` instant."""

# No `from __future__ import annotations`: typer reads the annotations of these functions.
from pathlib import Path
from typing import Annotated, Any

import typer

from .output import Output

app = typer.Typer(
    name="runstead",
    help="The runtime that LangGraph agents live in.",
    no_args_is_help=True,
    # Plain help: rich alone would take longer than everything else.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
runs_app = typer.Typer(help="Look at runs, and take care of them.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(runs_app, name="runs")
keys_app = typer.Typer(help="API keys: who shows one acts for its user.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(keys_app, name="keys")
webhooks_app = typer.Typer(help="What was sent to webhooks.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(webhooks_app, name="webhooks")
crons_app = typer.Typer(help="Runs that come by the clock.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(crons_app, name="crons")

Json = Annotated[bool, typer.Option("--json", help="One JSON object per line instead of text.")]
Config = Annotated[
    Path | None, typer.Option("--config", help="The langgraph.json to serve.  [default: ./langgraph.json]")
]
Host = Annotated[str | None, typer.Option("--host", help="Address to listen on.  [default: 127.0.0.1]")]
Port = Annotated[int | None, typer.Option("--port", help="Port to listen on; 0 takes a free one.  [default: 2024]")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", help="Where runs and threads are kept.  [default: one per project, in the user's data directory]"
    ),
]
SettingsFile = Annotated[
    Path | None, typer.Option("--settings", help="A file of settings.  [default: ./runstead.toml, if there is one]")
]
Assign = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any other setting; may be repeated.")
]
Unauthenticated = Annotated[
    bool | None,
    typer.Option(
        "--allow-unauthenticated", help="Listen on an address others can reach, although nobody has to log in."
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", help="Runs to execute at once; 0 leaves them to other workers.  [default: 64]"),
]
Targets = Annotated[
    list[str] | None, typer.Argument(metavar="[FILE.PY:GRAPH]...", help="Graphs to serve, without a langgraph.json.")
]
Url = Annotated[str | None, typer.Option("--url", help="The server to talk to.  [default: the one of the settings]")]
Thread = Annotated[str | None, typer.Option("--thread", help="Id of the thread.")]


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    if version:
        from runstead import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.command()
def demo(
    ask: Annotated[
        bool, typer.Option("--ask", help="Let me approve the payment, instead of approving by itself.")
    ] = False,
    json: Json = False,
) -> None:
    """Kill the process of a run, and watch the run survive it.

    A new process resumes the run, and the result is the same as without the kill."""
    from .demo.play import show_demo

    output = Output(as_json=json)
    with output.telling_errors():
        raise typer.Exit(show_demo(output, ask=ask))


@app.command()
def dev(
    targets: Targets = None,
    config: Config = None,
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    settings: SettingsFile = None,
    assign: Assign = None,
    allow_unauthenticated: Unauthenticated = None,
    reload: Annotated[bool, typer.Option("--reload/--no-reload", help="Serve anew when code changes.")] = True,
    json: Json = False,
) -> None:
    """Serve graphs while working on them.

    Reloads when code changes; runs in flight go on afterwards.
    """
    from .serving import ServeRequest, develop

    output = Output(as_json=json)
    flags = {"config": config, "host": host, "port": port, "data_dir": data_dir}
    with output.telling_errors():
        request = ServeRequest(
            flags={**flags, "allow_unauthenticated": allow_unauthenticated},
            assigned=tuple(assign or ()),
            settings_file=settings,
            targets=tuple(targets or ()),
            defaults={"show_errors": True},
        )
        develop(request, output, reload=reload)


@app.command()
def serve(
    targets: Targets = None,
    config: Config = None,
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    workers: Workers = None,
    settings: SettingsFile = None,
    assign: Assign = None,
    allow_unauthenticated: Unauthenticated = None,
    json: Json = False,
    socket_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
    parent_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Serve graphs in the foreground.

    SIGTERM lets runs finish for a while, and hands the rest back to be resumed.
    """
    from .serving import ServeRequest, serve_forever

    output = Output(as_json=json)
    flags = {"config": config, "host": host, "port": port, "data_dir": data_dir, "max_concurrent_runs": workers}
    with output.telling_errors():
        request = ServeRequest(
            flags={**flags, "allow_unauthenticated": allow_unauthenticated},
            assigned=tuple(assign or ()),
            settings_file=settings,
            targets=tuple(targets or ()),
        )
        serve_forever(request, output, socket_fd=socket_fd, parent_fd=parent_fd)


@app.command()
def worker(
    targets: Targets = None,
    config: Config = None,
    workers: Workers = None,
    queue: Annotated[
        list[str] | None, typer.Option("--queue", help="Execute runs of this queue alone; may be repeated.")
    ] = None,
    settings: SettingsFile = None,
    assign: Assign = None,
    json: Json = False,
    parent_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Execute runs of a cluster, and serve nothing.

    Needs RUNSTEAD_DATABASE_URL and RUNSTEAD_REDIS_URL, those of its servers.
    SIGTERM lets runs finish for a while, and hands the rest to other workers.
    """
    from .serving import ServeRequest, work_forever

    output = Output(as_json=json)
    flags = {"config": config, "max_concurrent_runs": workers, "queues": tuple(queue) if queue else None}
    with output.telling_errors():
        request = ServeRequest(
            flags=flags, assigned=tuple(assign or ()), settings_file=settings, targets=tuple(targets or ())
        )
        work_forever(request, output, parent_fd=parent_fd)


@app.command()
def cluster(
    targets: Targets = None,
    config: Config = None,
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Worker processes.")] = 2,
    settings: SettingsFile = None,
    assign: Assign = None,
    allow_unauthenticated: Unauthenticated = None,
    json: Json = False,
) -> None:
    """Start a whole cluster on this machine, without Docker.

    PostgreSQL, Valkey, one gateway and some workers, which all end with this command. Data is kept.
    """
    from .cluster import run_cluster
    from .serving import ServeRequest

    output = Output(as_json=json)
    flags = {"config": config, "host": host, "port": port, "data_dir": data_dir}
    with output.telling_errors():
        request = ServeRequest(
            flags={**flags, "allow_unauthenticated": allow_unauthenticated},
            assigned=tuple(assign or ()),
            settings_file=settings,
            targets=tuple(targets or ()),
        )
        raise typer.Exit(run_cluster(request, output, workers=workers))


@app.command()
def run(
    assistant: Annotated[str, typer.Argument(help="Assistant or graph to run.")],
    text: Annotated[str | None, typer.Argument(help="What to say to it.")] = None,
    input: Annotated[str | None, typer.Option("--input", help="The graph's input as JSON, instead of a text.")] = None,
    resume: Annotated[
        str | None, typer.Option("--resume", help="The answer (JSON) to what a thread waits for.")
    ] = None,
    thread: Thread = None,
    yes: Annotated[bool, typer.Option("--yes", help="Approve whatever is asked.")] = False,
    url: Url = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Create a run and watch it live.

    Answer y, n or e where it needs approval.
    Ctrl-C detaches, and the run goes on; a second Ctrl-C cancels it.
    """
    from .runs import RunRequest, start_run

    output = Output(as_json=json)
    with output.telling_errors():
        request = RunRequest.parse(assistant, text=text, input=input, resume=resume, thread_id=thread, approve=yes)
        raise typer.Exit(start_run(request, output, url=url, settings_file=settings))


@app.command()
def watch(
    run_id: Annotated[str, typer.Argument(help="The run to watch.")],
    thread: Thread = None,
    yes: Annotated[bool, typer.Option("--yes", help="Approve whatever is asked.")] = False,
    url: Url = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Attach to a run again, from its beginning."""
    from .runs import watch_run

    output = Output(as_json=json)
    with output.telling_errors():
        raise typer.Exit(watch_run(run_id, output, thread_id=thread, approve=yes, url=url, settings_file=settings))


@runs_app.command("ls")
def runs_ls(
    thread: Thread = None,
    status: Annotated[str | None, typer.Option("--status", help="Only runs of this status.")] = None,
    dead: Annotated[bool, typer.Option("--dead", help="Only dead letters: runs whose attempts are used up.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 20,
    url: Url = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """List runs, the newest first."""
    from .runs import list_runs

    output = Output(as_json=json)
    with output.telling_errors():
        list_runs(output, thread_id=thread, status=status, dead=dead, limit=limit, url=url, settings_file=settings)


@runs_app.command("retry")
def runs_retry(
    run_id: Annotated[str, typer.Argument(help="A dead letter.")],
    url: Url = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Give a dead letter new attempts."""
    from .runs import retry_run

    output = Output(as_json=json)
    with output.telling_errors():
        retry_run(run_id, output, url=url, settings_file=settings)


@runs_app.command("cancel")
def runs_cancel(
    run_id: Annotated[str, typer.Argument(help="The run to stop.")],
    url: Url = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Stop a run; what it did so far is kept."""
    from .runs import cancel_run

    output = Output(as_json=json)
    with output.telling_errors():
        cancel_run(run_id, output, url=url, settings_file=settings)


@webhooks_app.command("ls")
def webhooks_ls(
    run_id: Annotated[str | None, typer.Option("--run", help="Only those of this run.")] = None,
    status: Annotated[str | None, typer.Option("--status", help="Only pending, delivered or failed ones.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 20,
    url: Url = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """List deliveries, the newest first."""
    from .webhooks import list_deliveries

    output = Output(as_json=json)
    with output.telling_errors():
        list_deliveries(output, run_id=run_id, status=status, limit=limit, url=url, settings_file=settings)


@webhooks_app.command("show")
def webhooks_show(
    delivery_id: Annotated[str, typer.Argument(help="The delivery.")],
    url: Url = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Show a delivery with all its attempts."""
    from .webhooks import show_delivery

    output = Output(as_json=json)
    with output.telling_errors():
        show_delivery(delivery_id, output, url=url, settings_file=settings)


@webhooks_app.command("redeliver")
def webhooks_redeliver(
    delivery_id: Annotated[str, typer.Argument(help="The delivery.")],
    url: Url = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Send a delivery again now, whatever has become of it."""
    from .webhooks import redeliver

    output = Output(as_json=json)
    with output.telling_errors():
        redeliver(delivery_id, output, url=url, settings_file=settings)


@crons_app.command("ls")
def crons_ls(
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 20,
    url: Url = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """List crons, the next one due first."""
    from .crons import list_crons

    output = Output(as_json=json)
    with output.telling_errors():
        list_crons(output, limit=limit, url=url, settings_file=settings)


CronId = Annotated[str, typer.Argument(help="The cron.")]


@crons_app.command("pause")
def crons_pause(cron_id: CronId, url: Url = None, settings: SettingsFile = None, json: Json = False) -> None:
    """Let a cron make no runs for now."""
    from .crons import switch_cron

    output = Output(as_json=json)
    with output.telling_errors():
        switch_cron(cron_id, output, enabled=False, url=url, settings_file=settings)


@crons_app.command("resume")
def crons_resume(cron_id: CronId, url: Url = None, settings: SettingsFile = None, json: Json = False) -> None:
    """Let a cron make runs again, from its next moment on."""
    from .crons import switch_cron

    output = Output(as_json=json)
    with output.telling_errors():
        switch_cron(cron_id, output, enabled=True, url=url, settings_file=settings)


@crons_app.command("rm")
def crons_rm(cron_id: CronId, url: Url = None, settings: SettingsFile = None, json: Json = False) -> None:
    """Forget a cron. Its runs stay."""
    from .crons import delete_cron

    output = Output(as_json=json)
    with output.telling_errors():
        delete_cron(cron_id, output, url=url, settings_file=settings)


@keys_app.command("create")
def keys_create(
    user: Annotated[str, typer.Option("--user", help="Whom the key acts for.")],
    tenant: Annotated[str, typer.Option("--tenant", help="The tenant this user is of.")] = "default",
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="A permission that graphs will see; may be repeated.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="What the key is for.  [default: the user]")] = None,
    config: Config = None,
    data_dir: DataDir = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Make a key. It is shown this once."""
    from .keys import create_key
    from .serving import ServeRequest

    output = Output(as_json=json)
    with output.telling_errors():
        request = ServeRequest(flags={"config": config, "data_dir": data_dir}, settings_file=settings)
        create_key(output, request.settings(), user=user, tenant=tenant, scopes=scope or (), name=name)


@keys_app.command("ls")
def keys_ls(config: Config = None, data_dir: DataDir = None, settings: SettingsFile = None, json: Json = False) -> None:
    """List all keys, without what opens anything."""
    from .keys import list_keys
    from .serving import ServeRequest

    output = Output(as_json=json)
    with output.telling_errors():
        request = ServeRequest(flags={"config": config, "data_dir": data_dir}, settings_file=settings)
        list_keys(output, request.settings())


@keys_app.command("revoke")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(help="As `runstead keys ls` shows it.")],
    config: Config = None,
    data_dir: DataDir = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Close a key, from now on and for good."""
    from .keys import revoke_key
    from .serving import ServeRequest

    output = Output(as_json=json)
    with output.telling_errors():
        request = ServeRequest(flags={"config": config, "data_dir": data_dir}, settings_file=settings)
        revoke_key(output, request.settings(), key_id)


@app.command()
def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit with 1 when there is something to do.")
    ] = False,
    config: Config = None,
    data_dir: DataDir = None,
    settings: SettingsFile = None,
    assign: Assign = None,
    json: Json = False,
) -> None:
    """Bring the database's schema up to date. Servers may go on meanwhile."""
    from .migrate import migrate as migrate_now
    from .serving import ServeRequest

    output = Output(as_json=json)
    with output.telling_errors():
        request = ServeRequest(
            flags={"config": config, "data_dir": data_dir}, assigned=tuple(assign or ()), settings_file=settings
        )
        raise typer.Exit(migrate_now(output, request.settings(), check=check))


@app.command("export")
def export_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; it must not be there yet.")],
    config: Config = None,
    data_dir: DataDir = None,
    settings: SettingsFile = None,
    assign: Assign = None,
    json: Json = False,
) -> None:
    """Write everything that is kept into a file, to be imported elsewhere.

    Stop the server first, or all servers and workers of a cluster."""
    from .moving import export
    from .serving import ServeRequest

    output = Output(as_json=json)
    with output.telling_errors():
        request = ServeRequest(
            flags={"config": config, "data_dir": data_dir}, assigned=tuple(assign or ()), settings_file=settings
        )
        export(output, request.settings(), file)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `runstead export` has written.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Write nothing: only compare what is there with the file.")
    ] = False,
    config: Config = None,
    data_dir: DataDir = None,
    settings: SettingsFile = None,
    assign: Assign = None,
    json: Json = False,
) -> None:
    """Bring everything of an exported file to where the settings say, and compare it at the end.

    Overwrites nothing. One that was cut off goes on where it stood when it is started again."""
    from .moving import import_ as import_now
    from .serving import ServeRequest

    output = Output(as_json=json)
    with output.telling_errors():
        request = ServeRequest(
            flags={"config": config, "data_dir": data_dir}, assigned=tuple(assign or ()), settings_file=settings
        )
        import_now(output, request.settings(), file, only_verify=verify)


@app.command()
def doctor(
    targets: Targets = None,
    config: Config = None,
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    settings: SettingsFile = None,
    assign: Assign = None,
    json: Json = False,
) -> None:
    """Check the set-up, say what is wrong with it and the way out."""
    from .doctor import examine
    from .serving import ServeRequest

    output = Output(as_json=json)
    flags: dict[str, Any] = {"config": config, "host": host, "port": port, "data_dir": data_dir}
    with output.telling_errors():
        request = ServeRequest(
            flags=flags, assigned=tuple(assign or ()), settings_file=settings, targets=tuple(targets or ())
        )
        raise typer.Exit(examine(request, output))


def main() -> None:
    """The ``runstead`` command."""
    app()
