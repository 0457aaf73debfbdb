# SPDX-License-Identifier: Apache-2.0
"""The operator's log: JSON lines on stderr.

What a caller sent never reaches it: of an exception, its type and the places it passed are written, not its
message; of a record of ours the fields that are named here; of other libraries' records only where in the code they
come from, because those libraries quote what came over the wire.
"""

import json
import logging
import sys
import traceback
from typing import Final

from proxy.clock import render_instant

FIELDS: Final = (
    "api",
    "bundle",
    "bytes",
    "cause",
    "error",
    "id",
    "issuer",
    "lookup",
    "path",
    "policy",
    "registers",
    "until",
)


class JsonFormatter(logging.Formatter):
    """Renders a record as one line of JSON.

    Args:
        worker: the number of this process; 0 where it is no worker.
    """

    def __init__(self, worker: int = 0) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": render_instant(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if self._worker:
            line["worker"] = self._worker
        if record.name == "sekisho" or record.name.startswith("sekisho."):
            line["message"] = _render_message(record)
            line |= {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}
        else:
            line["message"] = f"{record.module}:{record.lineno}"
        if record.exc_info and record.exc_info[0]:
            line["exception"] = record.exc_info[0].__name__
            frames = traceback.extract_tb(record.exc_info[2])
            line["frames"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-8:]]
        return json.dumps(line, ensure_ascii=True, default=str)


def _render_message(record: logging.LogRecord) -> str:
    """Return our own sentence; its template alone where the arguments do not fit."""
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        return str(record.msg)


def configure_log(level: str, worker: int = 0) -> None:
    """Send the log of this process to stderr.

    Args:
        level: from which on.
        worker: the number of this process; 0 where it is no worker.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(worker))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
