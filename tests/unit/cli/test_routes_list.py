# SPDX-License-Identifier: Apache-2.0
"""``sekisho routes list``: each declared route, whose data it carries, and what of its answers may leave."""

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.cli import main
from proxy.cli.routes_list import list_route
from tests.support.api_entries import CLAIM, KNOWN, SEARCH, VOUCHED, a_route, compiled
from tests.support.bundle_folder import edited, write_bundle

POST = {"methods": ["POST"], "action": "create"}


@pytest.mark.parametrize(
    ("subject", "changes", "whose", "leaves"),
    [
        pytest.param(KNOWN, {}, "{country} of the path, vouched for; id: {user_id} of the path", "1 field of $",
                     id="a claim that is vouched for"),
        pytest.param({"country": "JP", "authoritative": VOUCHED}, {"fields": None, "searchable_by": None},
                     "JP, vouched for", "all of it, or nothing: no fields are declared", id="without fields"),
        pytest.param({**CLAIM, "confirm": "$.c"}, {},
                     "{country} of the path, confirmed by $.c of each record; id: {user_id} of the path",
                     "1 field of $", id="a claim that the records confirm"),
        pytest.param({"country": {"query": "c"}, "confirm": {"answer_header": "X-C"}}, {"fields": None,
                     "searchable_by": None}, "query c, confirmed by header x-c of the answer",
                     "all of it, or nothing: no fields are declared", id="a claim that the head confirms"),
        pytest.param(SEARCH, {"envelope": {"$.page": "keep"}, "on_denied": "refuse", "answers": "ndjson"},
                     "$.country of each record; id: $.id of each record",
                     "ndjson, 1 field of $.users[*], 1 beside, refused whole", id="records"),
        pytest.param({**SEARCH, "id": "key"}, {"fields": {"$.a": "user", "$.b": "user.name"}},
                     "$.country of each record; id: the key of each record", "2 fields of $.users[*]", id="a map"),
        pytest.param({"country": {"answer_header": "X-C"}}, {}, "header x-c of the answer", "1 field of $",
                     id="the head of the answer"),
        pytest.param({"id": {"body": "$.id"}, "lookup": "staff"}, POST, "register staff, by body $.id", "1 field of $",
                     id="a register, by an id of the body"),
        pytest.param({"id": "$.id", "lookup": "staff"}, {"searchable_by": None},
                     "register staff, by $.id of each record", "1 field of $", id="a register, by the records' ids"),
        pytest.param({"country": {"header": "X-C"}, "id": {"form": "id"}, "authoritative": VOUCHED}, POST,
                     "header x-c, vouched for; id: form id", "1 field of $", id="a head and a form"),
        pytest.param("none", {"reason": "r", "owner": "o", "fields": None, "searchable_by": None}, "nobody's",
                     "all of it", id="no personal data"),
    ],
)  # fmt: skip
def test_a_route_is_told(subject: Any, changes: dict[str, Any], whose: str, leaves: str) -> None:
    listed = list_route(compiled(a_route(subject, **changes)))
    assert (listed.whose, listed.leaves) == (whose, leaves)
    assert (listed.route, listed.path) == ("user", "/v1/{country}/users/{user_id}")


def test_the_routes_of_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    served = 'upstreams: {default: {url: "http://127.0.0.1:9000"}, JP: {url: "unix:/run/jp.sock", hosted_in: JP}}'
    upstream = 'upstream: {url: "http://127.0.0.1:9000", hosted_in: JP}'
    folder = write_bundle(tmp_path, edited(("apis.yaml", upstream, served)))
    assert main(["routes", "list", str(folder)]) == 0
    assert capsys.readouterr().out == (
        "users at http://127.0.0.1:9000 (nobody says where); users/JP at unix:/run/jp.sock (JP)\n"
        "  user: GET /v1/{country}/users/{user_id} (read)\n"
        "    whose   {country} of the path, vouched for; id: {user_id} of the path\n"
        "    leaves  1 field of $\n"
    )
    assert main(["routes", "list", str(folder), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["api"], row["methods"], row["action"]) == ("users", "GET", "read")


def test_a_folder_that_does_not_load_has_no_routes(tmp_path: Path) -> None:
    assert main(["routes", "list", str(write_bundle(tmp_path, edited(("apis.yaml", "action: read", ""))))]) == 2
