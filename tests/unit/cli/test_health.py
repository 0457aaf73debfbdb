# SPDX-License-Identifier: Apache-2.0
"""``sekisho health``, against listeners that say one thing: what it prints, and what it ends with."""

import asyncio
import socket
from collections.abc import Sequence
from http import HTTPStatus

import pytest

from proxy.admin.serving import Answer, Find, Page, make_problem
from proxy.cli import main
from tests.support.admin import serve_pages


def told(**pages: Answer) -> Find:
    """Return what answers ``/livez`` and so on."""

    def find(path: str) -> Page | None:
        answer = pages.get(path.strip("/").replace("/", "_"))

        async def page() -> Answer:
            assert answer is not None
            return answer

        return None if answer is None else page

    return find


NO = make_problem(HTTPStatus.SERVICE_UNAVAILABLE, "users: it answers 500")
CASES: dict[str, tuple[Sequence[str], Find, int, str]] = {
    "it lives": ([], told(livez=Answer(b'{"alive":true}')), 0, '{"alive":true}'),
    "it is ready": (["--ready"], told(readyz=Answer(b"yes")), 0, "yes"),
    "it is not ready": (["--ready"], told(readyz=NO), 1, '"status":503'),
    "an API is healthy": (["--api", "users"], told(apis_users_health=Answer(b"yes")), 0, "yes"),
    "an API is not": (["--api", "users"], told(apis_users_health=NO), 1, "it answers 500"),
    "an API is nobody's": (["--api", "usres"], told(), 1, "Nothing is served at this path."),
    "what it says would command a terminal": ([], told(livez=Answer(b"\x1b[2J")), 0, "\N{REPLACEMENT CHARACTER}[2J"),
}


@pytest.mark.parametrize(("arguments", "find", "code", "printed"), CASES.values(), ids=CASES.keys())
async def test_the_answer_is_printed_and_its_status_is_the_exit_code(
    arguments: Sequence[str], find: Find, code: int, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serve_pages(find) as listener:
        run = ["health", "--admin", f"127.0.0.1:{listener.port}", *arguments]
        assert await asyncio.to_thread(main, run) == code
    assert printed in capsys.readouterr().out


def test_who_is_not_there_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    assert main(["health", "--admin", address]) == 1
    assert capsys.readouterr().out == f"No answer from {address}: Connection refused.\n"


USAGE = {
    "no port": (["--admin", "127.0.0.1"], "'127.0.0.1' is no HOST:PORT: write --admin 127.0.0.1:"),
    "a URL": (["--admin", "http://127.0.0.1:9090/livez"], "is no HOST:PORT"),
    "a port that is none": (["--admin", "127.0.0.1:99999"], "is no HOST:PORT"),
    "an API that can be none": (["--api", "../livez"], "--api: '../livez' is no id"),
    "an API with a blank": (["--api", "a b"], "--api: 'a b' is no id"),
}


@pytest.mark.parametrize(("arguments", "mend"), USAGE.values(), ids=USAGE.keys())
def test_what_cannot_be_asked_says_how_to_mend_it(
    arguments: Sequence[str], mend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["health", *arguments]) == 2
    assert mend in capsys.readouterr().err


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 70, "a..b"])
def test_a_name_that_nobody_has_is_no_answer(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["health", "--admin", f"{host}:9090"]) == 1
    assert capsys.readouterr().out.startswith(f"No answer from {host}:9090: ")
