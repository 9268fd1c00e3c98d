"""Logging of a server process: lines to read, or one JSON object per line. To standard error, apart from results."""

from __future__ import annotations

import logging
import sys
from typing import Final

import structlog
from structlog.typing import Processor

from runstead.settings import Settings

from .repeated_lines import RepeatedLines

_TALKATIVE: Final = (
    "httpx", "httpx2", "httpcore", "httpcore2", "uvicorn", "alembic", "asyncio", "watchfiles", "procrastinate",
)  # fmt: skip


def configure_logging(settings: Settings) -> None:
    """Everything that logs in this process, ours and the libraries', goes through one handler."""
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
        # Plain tracebacks: the pretty ones show local variables, and with them keys and passwords.
        # Without padding behind the event; the parameter has another name since structlog 25.5.
        padding = 0
        console = structlog.dev.ConsoleRenderer(
            padding, colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        rendered = [console]
    handler = logging.StreamHandler(sys.stderr)
    # What fails in every run, or at every connection, would fill a disk.
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
    # Their lines at level info are about every request, also those of user code; ours are about runs. Who asks for
    # debug gets them.
    level = logging.INFO if root.level <= logging.DEBUG else max(logging.WARNING, root.level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(level)
