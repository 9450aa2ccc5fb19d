"""Logs: one line an event, JSON unless on a terminal, the standard library's loggers included."""

from __future__ import annotations

import logging
import sys
from typing import Final, Literal

import structlog

_QUIET = ("aiokafka", "alembic", "uvicorn.access", "asyncio", "httpx")  # only their warnings matter
_CHATTY: Final = "aiokafka"  # while a broker is away it says so ten times a second
_SILENCE: Final = 30.0  # seconds until it may say the same again


class Seldom(logging.Filter):
    """Lets a chatty library say one thing once in a while; everybody else may speak."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(_CHATTY):
            return True
        what = f"{record.name}: {record.msg}"
        if record.created - self._said.get(what, float("-inf")) < _SILENCE:
            return False
        self._said[what] = record.created
        return True


def configure(level: str, log_format: Literal["auto", "json", "console"]) -> None:
    """Sets up structlog and logging for a process; may be called again."""
    before: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    to_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    last: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if to_json
        else [structlog.dev.ConsoleRenderer()]
    )
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
        )
    )
    handler.addFilter(Seldom())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
