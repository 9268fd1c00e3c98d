"""Findings of `runstead doctor` about the stored data: backlog, workers, dead letters, what is late, sizes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from runstead.bootstrap.storage_report import StorageReport, report_of_cluster, report_of_files
from runstead.resources.health_checks import HealthCheck
from runstead.settings import Settings

from .times import duration

_LONG: Final = 60.0
_LATE: Final = 120.0
_OVERDUE: Final = 600.0
_DAY: Final = 86_400.0
_UNITS: Final = ("B", "KB", "MB", "GB", "TB")


def check_stored_data(settings: Settings) -> Iterator[HealthCheck]:
    """Yield the findings; none if nothing is stored yet."""
    from runstead.resources.storage_errors import StorageError

    try:
        report = asyncio.run(report_of_cluster(settings)) if settings.is_cluster else report_of_files(settings.data_dir)
    except (StorageError, ImportError):
        # Other checks say why.
        return
    if report is not None:
        yield from findings_of(report)
        if settings.retention:
            yield _retention(report)


def findings_of(report: StorageReport) -> Iterator[HealthCheck]:
    """Yield the findings about a report."""
    queue = report.queue
    yield _backlog(report)
    if report.workers is not None:
        alive = f"{report.workers} processes that execute runs are alive"
        if report.workers:
            yield HealthCheck("workers", "ok", alive)
        else:
            yield HealthCheck("workers", "warning", alive, "start `runstead worker`")
    if queue.expired_leases:
        text = f"{queue.expired_leases} runs lost their worker and are not taken over yet"
        yield HealthCheck("leases", "warning", text, "a server or worker that executes runs takes them over in seconds")
    if queue.dead_letters:
        text = f"{queue.dead_letters} runs lost their worker too often"
        yield HealthCheck("dead letters", "warning", text, "`runstead runs ls --dead`, and `runstead runs retry`")
    else:
        yield HealthCheck("dead letters", "ok", "none")
    if queue.cron_lateness > _LATE:
        text = f"the latest of {queue.crons} is late by {duration(queue.cron_lateness)}"
        yield HealthCheck(
            "crons", "warning", text, "start a process that executes runs; `runstead crons ls` has errors"
        )
    if queue.webhooks_overdue > _OVERDUE:
        text = f"{queue.webhooks_owed} deliveries are pending, the oldest for {duration(queue.webhooks_overdue)}"
        yield HealthCheck("webhooks", "warning", text, "`runstead webhooks ls` names the receivers")
    sizes = ", ".join(f"{name} {size_text(size.used)}" for name, size in report.sizes.items())
    growth = f"; about {size_text(report.bytes_a_day)} a day, by the runs of the last day" if report.runs else ""
    yield HealthCheck("size", "ok", f"{sizes}{growth}")


def _retention(report: StorageReport) -> HealthCheck:
    due = report.queue.retention_due
    if due <= _DAY:
        return HealthCheck("retention", "ok", f"a pass is under way for {duration(due)}" if due else "up to date")
    text = f"a pass has not ended for {duration(due)}"
    return HealthCheck("retention", "warning", text, "start a server or worker; the log has `retention` if it fails")


def _backlog(report: StorageReport) -> HealthCheck:
    queue = report.queue
    text = f"{queue.running} runs execute, {queue.due} wait, {queue.delayed} are delayed"
    if queue.oldest_claimable <= _LONG:
        return HealthCheck("backlog", "ok", text)
    text += f"; one has waited for a worker for {duration(queue.oldest_claimable)}"
    return HealthCheck("backlog", "warning", text, "start a server or workers that execute runs of its queue")


def size_text(size: float) -> str:
    """Return a number of bytes with its unit."""
    for unit in _UNITS[:-1]:
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} {_UNITS[-1]}"
