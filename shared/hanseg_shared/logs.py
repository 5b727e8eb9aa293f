"""What every process logs and how: text for a person, or one JSON object a line.

What is true of a whole request or stage, such as its job's id, is said once with
`log_fields`; every line that is written meanwhile carries it.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Literal, ParamSpec, TypeVar

from hanseg_shared.log_filter import PatientFilter

LogForm = Literal["text", "json"]
"""How lines look: `HANSEG_LOG`."""

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

_FIELDS: ContextVar[dict[str, str | int]] = ContextVar("log_fields", default={})  # noqa: B039 - it is replaced and never changed

_OF_PROCESS: dict[str, str | int] = {}
"""What every line of this process says, such as a worker's name."""

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def log_fields(**fields: str | int) -> Iterator[None]:
    """Have every line of this thread or task carry fields, such as ``job=...``."""
    token = _FIELDS.set(_FIELDS.get() | fields)
    try:
        yield
    finally:
        _FIELDS.reset(token)


def current_fields() -> dict[str, str | int]:
    """Return what a line that is written now would carry."""
    return _OF_PROCESS | _FIELDS.get()


def name_process(**fields: str | int) -> None:
    """Have every line of this process carry fields, such as ``worker=...``."""
    _OF_PROCESS.update(fields)


def keep_fields(work: Callable[P, T]) -> Callable[P, T]:
    """Return a function for another thread whose lines carry this one's fields."""
    return partial(copy_context().run, work)


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON, its time in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line: time, level, logger, message, the fields, a traceback."""
        line: dict[str, str | int] = {
            "time": datetime.fromtimestamp(record.created, tz=UTC).isoformat(
                timespec="milliseconds"
            ),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= current_fields()
        if record.exc_text:  # masked
            line["exception"] = record.exc_text
        elif record.exc_info:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def configure_logging(form: LogForm, *, level: int = logging.INFO) -> None:
    """Have this process log to standard error, in the form that the settings name.

    A process that logs already, as under a test, is left as it is.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else logging.Formatter(TEXT))
    handler.addFilter(PatientFilter())
    if not logging.getLogger().handlers:
        # warnings repeat values of DICOM elements, last words repeat anything
        logging.captureWarnings(True)
        sys.excepthook = _log_last_words
    logging.basicConfig(level=level, handlers=[handler])
    # it would log the addresses that are asked, one a line
    logging.getLogger("httpx").setLevel(logging.WARNING)


def _log_last_words(
    kind: type[BaseException], error: BaseException, where: TracebackType | None
) -> None:
    """Log what ends the process, through the filter as everything else."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, where)
        return
    logging.getLogger(__name__).critical(
        "the process ends by an unexpected error", exc_info=(kind, error, where)
    )
