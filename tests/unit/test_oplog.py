# SPDX-License-Identifier: Apache-2.0
"""The operator's log: each record is one line of JSON, and what a caller sent is in none, whoever logs it."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.oplog import FIELDS, JsonFormatter

TOKEN = "eyJhbGciOiJIUzI1NiJ9.c2VjcmV0.c2ln"
FOREIGN = ("aiohttp.server", "asyncio", "root")


class OddError(Exception):
    """Refuses to be rendered."""

    def __str__(self) -> str:
        raise RuntimeError(TOKEN)


def a_record(name: str, message: Any, *arguments: Any, **fields: Any) -> logging.LogRecord:
    record = logging.LogRecord(name, logging.ERROR, __file__, 1, message, arguments, None)
    vars(record).update(fields)
    return record


def a_record_of(error: BaseException, name: str = "sekisho.gateway") -> logging.LogRecord:
    try:
        raise error
    except type(error):
        return logging.LogRecord(name, logging.ERROR, __file__, 1, "it failed", (), sys.exc_info())


def render(record: logging.LogRecord) -> dict[str, Any]:
    text = JsonFormatter().format(record)
    assert text.isascii()
    assert "\n" not in text
    line: dict[str, Any] = json.loads(text)
    return line


# What is written.


def test_a_record_of_ours_is_written_with_its_arguments_and_named_fields() -> None:
    record = a_record("sekisho.ledger", "cut %d bytes", 7, bytes=7, path="ledger/checkpoint", created=0.0)
    assert render(record) == {
        "time": "1970-01-01T00:00:00.000Z",
        "level": "error",
        "logger": "sekisho.ledger",
        "message": "cut 7 bytes",
        "bytes": 7,
        "path": "ledger/checkpoint",
    }


def test_an_exception_is_written_as_its_type_and_the_places_it_passed() -> None:
    line = render(a_record_of(ValueError(TOKEN)))
    assert line["exception"] == "ValueError"
    assert [frame.rpartition(" ")[2] for frame in line["frames"]] == ["a_record_of"]


def test_of_a_deep_exception_only_the_last_places_are_written() -> None:
    def fall(depth: int) -> None:
        if depth:
            fall(depth - 1)
        raise ValueError("secret")

    with pytest.raises(ValueError, match="secret") as caught:
        fall(100)
    where = (caught.type, caught.value, caught.tb)
    record = logging.LogRecord("sekisho", logging.ERROR, __file__, 1, "it failed", (), where)
    assert len(render(record)["frames"]) == 8


@pytest.mark.parametrize("field", [*FIELDS])
def test_a_named_field_of_any_type_is_written(field: str) -> None:
    assert render(a_record("sekisho", "message", **{field: {"a", "set"}}))[field] in ("{'a', 'set'}", "{'set', 'a'}")


def test_a_field_that_is_not_named_is_not_written() -> None:
    assert TOKEN not in str(render(a_record("sekisho", "message", token=TOKEN, headers=[TOKEN], url=TOKEN)))


@given(st.text())
def test_a_record_is_one_line_whatever_text_is_inside(text: str) -> None:
    assert render(a_record("sekisho", "%s", text, path=text))["message"] == text


# What never reaches it.

ERRORS = [
    pytest.param(lambda: ValueError(TOKEN), id="in the message"),
    pytest.param(lambda: OSError(5, TOKEN, TOKEN), id="in the name of a file"),
    pytest.param(lambda: UnicodeDecodeError("utf-8", TOKEN.encode(), 0, 1, TOKEN), id="in what could not be decoded"),
    pytest.param(lambda: KeyError(TOKEN), id="in a key"),
    pytest.param(lambda: ExceptionGroup(TOKEN, [ValueError(TOKEN)]), id="in a group"),
    pytest.param(OddError, id="in an exception that cannot be rendered"),
]


@pytest.mark.parametrize("make", ERRORS)
def test_what_an_exception_quotes_is_not_written(make: Callable[[], Exception]) -> None:
    assert TOKEN not in str(render(a_record_of(make())))


@pytest.mark.parametrize("make", ERRORS)
def test_what_the_cause_of_an_exception_quotes_is_not_written(make: Callable[[], Exception]) -> None:
    error = RuntimeError("outside")
    error.__cause__ = make()
    error.add_note(TOKEN)
    assert TOKEN not in str(render(a_record_of(error)))


FOREIGN_RECORDS = [
    pytest.param("Error handling request from %s", (TOKEN,), {}, id="in an argument"),
    pytest.param("%(url)s", ({"url": TOKEN},), {}, id="in an argument by name"),
    pytest.param(f"Web-handler should return a response instance, got {TOKEN!r}", (), {}, id="in the message itself"),
    pytest.param(f"Task exception was never retrieved\nfuture: <Task exception=ValueError({TOKEN!r})>", (), {},
                 id="in what asyncio writes of a task"),
    pytest.param(ValueError(TOKEN), (), {}, id="in an exception that is the message"),
    pytest.param("message", (), {"path": f"/v1/jp/users/42?q={TOKEN}"}, id="in a field that is named like one of ours"),
    pytest.param("message", (), {"error": TOKEN, "id": TOKEN}, id="in more such fields"),
]  # fmt: skip


@pytest.mark.parametrize(("message", "arguments", "fields"), FOREIGN_RECORDS)
def test_what_another_logger_quotes_is_not_written(
    message: object, arguments: tuple[object, ...], fields: dict[str, Any]
) -> None:
    for name in FOREIGN:
        assert TOKEN not in str(render(a_record(name, message, *arguments, **fields)))


def test_a_logger_that_only_begins_like_ours_is_not_ours() -> None:
    assert TOKEN not in str(render(a_record("sekishoes", "%s", TOKEN)))


def test_a_foreign_record_still_says_what_it_is_about() -> None:
    line = render(a_record("aiohttp.server", "Error handling request from %s", "192.0.2.1"))
    assert (line["logger"], line["level"]) == ("aiohttp.server", "error")


def test_a_record_whose_arguments_do_not_fit_is_still_a_line() -> None:
    assert TOKEN not in str(render(a_record("sekisho", "%d bytes", TOKEN)))


# The whole of it, in a process of its own.

CONFIGURED = """
import asyncio, gc, logging, warnings
from proxy.oplog import configure_log
configure_log("info")
logging.getLogger("sekisho").info("ready", extra={{"bundle": "line-2021"}})
logging.getLogger("sekisho").debug("too quiet")
{doing}
"""
PROCESSES = [
    pytest.param("logging.getLogger('aiohttp.server').error('%s', 'TOKEN', exc_info=ValueError('TOKEN'))",
                 id="an error of aiohttp"),
    pytest.param("logging.getLogger('sekisho').info('%d bytes', 'TOKEN')", id="arguments that do not fit"),
    pytest.param("""
async def fail(): raise ValueError('TOKEN')
async def main():
    task = asyncio.ensure_future(fail())
    await asyncio.wait([task])
    del task
    gc.collect()
asyncio.run(main())""", id="a task whose exception nobody took"),
    pytest.param("""
def fail(): raise ValueError('TOKEN')
async def main():
    asyncio.get_running_loop().call_soon(fail)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
asyncio.run(main())""", id="a callback that failed"),
    pytest.param("""
async def main():
    asyncio.get_running_loop().call_exception_handler({'message': 'broken', 'request': 'TOKEN'})
asyncio.run(main())""", id="what is handed to the loop's exception handler"),
]  # fmt: skip


@pytest.mark.parametrize("doing", PROCESSES)
def test_all_that_leaves_on_stderr_is_json_without_what_was_sent(doing: str) -> None:
    script = CONFIGURED.format(doing=doing.replace("TOKEN", TOKEN))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    first = json.loads(lines[0])
    assert (first["message"], first["bundle"], done.stdout) == ("ready", "line-2021", "")
    assert len(lines) > 1
    assert [line for line in lines if not line.startswith("{") or TOKEN in line] == []
