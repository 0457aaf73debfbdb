# SPDX-License-Identifier: Apache-2.0
"""The register of programs: what it refuses, and how a program is found."""

from typing import Any

import pytest

from proxy.caller.clients import Client, ClientEntry, check_clients, compile_clients

CONSOLE: dict[str, Any] = {"id": "law-console", "issuer": "corp", "client": "lc-prod", "affiliate": "ly"}


def entry(**changes: Any) -> ClientEntry:
    return ClientEntry.model_validate({**CONSOLE, **changes})


def problems(*entries: ClientEntry) -> list[tuple[tuple[str | int, ...], str]]:
    found = check_clients(entries, frozenset({"corp", "mesh"}), frozenset({"ly", "line-china"}))
    return [(problem.path, problem.message) for problem in found]


def test_a_program_is_found_by_who_vouches_for_it_and_its_name_there() -> None:
    clients = compile_clients([entry(), entry(id="batch", client="nightly", autonomous="true", reason="r", owner="o")])
    assert clients.find("corp", "lc-prod") == Client("law-console", "ly", autonomous=False)
    assert clients.find("corp", "nightly") == Client("batch", "ly", autonomous=True)


@pytest.mark.parametrize(
    ("issuer", "name"),
    [
        pytest.param("mesh", "lc-prod", id="the same name at another issuer"),
        pytest.param("corp", "LC-PROD", id="another case"),
        pytest.param("corp", "law-console", id="our own id of it"),
        pytest.param("corp", None, id="no name"),
        pytest.param("corp", ["lc-prod"], id="a list"),
    ],
)
def test_nothing_else_is_taken_for_it(issuer: str, name: object) -> None:
    assert compile_clients([entry()]).find(issuer, name) is None


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        pytest.param({"issuer": "crop"}, (0, "issuer"), "did you mean 'corp'", id="an issuer that nobody declared"),
        pytest.param({"affiliate": "lie"}, (0, "affiliate"), "no affiliate 'lie'", id="an affiliate nobody declared"),
        pytest.param({"autonomous": "true"}, (0, "autonomous"), "reason and owner", id="autonomous for no reason"),
        pytest.param({"autonomous": "true", "reason": "r"}, (0, "autonomous"), "owner", id="a reason nobody owns"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(changes: dict[str, str], path: tuple[str | int, ...], words: str) -> None:
    ((where, message),) = problems(entry(**changes))
    assert where == path
    assert words in message


def test_one_name_is_one_program() -> None:
    ((where, message),) = problems(entry(), entry(id="second"))
    assert where == (1, "client")
    assert "'law-console' already" in message
    assert problems(entry(), entry(id="second", issuer="mesh")) == []
