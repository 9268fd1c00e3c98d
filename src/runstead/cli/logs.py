"""Logging of a server process: readable lines, or one JSON object per line. Written to standard error, separate from
results."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Final

import structlog
from structlog.typing import Processor

from runstead.settings import Settings

from .log_writer import LogWriter
from .repeated_lines import RepeatedLines

_TALKATIVE: Final = (
    "httpx", "httpx2", "httpcore", "httpcore2", "uvicorn", "alembic", "asyncio", "watchfiles", "procrastinate",
)  # fmt: skip


def configure_logging(settings: Settings) -> None:
    """Send all log lines of this process, including those of libraries, through one handler."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
    ]
    rendered: list[Processor]
    if settings.log_format == "json":
        rendered = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        # Plain tracebacks: the pretty ones show local variables, and so keys and passwords. No padding after the event;
        # the parameter was renamed in structlog 25.5.
        padding = 0
        console = structlog.dev.ConsoleRenderer(
            padding, colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        rendered = [console]
    handler = LogWriter(sys.stderr)
    # An error of every run, or of every connection, would fill the disk.
    handler.addFilter(RepeatedLines())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    # At level info, these libraries log every request, also those of user code; Runstead's lines are about runs. With
    # level debug, the libraries log too.
    level = logging.INFO if root.level <= logging.DEBUG else max(logging.WARNING, root.level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(level)
    _join_structlog(shared)


def _join_structlog(shared: Sequence[Processor]) -> None:
    """Send lines of structlog through the same handler, unless other code has configured it: those of agents then have
    the run's ids and the same format."""
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
