"""Repeated log lines are suppressed and counted."""

from __future__ import annotations

import logging

from runstead.cli.repeated_lines import RepeatedLines


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def test_repeated_lines_of_one_call_site_are_suppressed_and_counted() -> None:
    now = 0.0
    kept, log = _Kept(), logging.Logger("test")
    kept.addFilter(RepeatedLines(burst=3, every=60, monotonic=lambda: now))
    log.addHandler(kept)

    def fail(number: int) -> None:
        log.warning("run %s failed", number)

    for number in range(100):
        fail(number)
        log.info("an ordinary line")
    assert [line for line in kept.lines if "failed" in line] == [f"run {number} failed" for number in range(3)]
    assert kept.lines.count("an ordinary line") == 100
    log.warning("another place passes")
    assert kept.lines[-1] == "another place passes"
    now = 60.0
    fail(100)
    assert kept.lines[-1] == "run 100 failed (97 lines like this one were suppressed)"
    fail(101)
    assert kept.lines[-1] == "run 101 failed"


def test_lines_with_another_exception_class_are_counted_separately() -> None:
    kept, log = _Kept(), logging.Logger("test")
    kept.addFilter(RepeatedLines(burst=1))
    log.addHandler(kept)
    for error in (ValueError, ValueError, KeyError):
        try:
            raise error
        except error:
            log.exception("it failed with %s", error.__name__)
    assert kept.lines == ["it failed with ValueError", "it failed with KeyError"]
