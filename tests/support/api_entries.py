# SPDX-License-Identifier: Apache-2.0
"""Routes and APIs as policy files write them, one after another with changes."""

from typing import Any, Final

from proxy.bundle.apis import ApiEntry, check_apis, compile_apis
from proxy.model.api import Route
from proxy.model.problem import Problem

VOUCHED: Final = {"by": "users-team", "review_by": "2027-06-30"}
FIELDS: Final = {"$.name": "user.name"}
CLAIM: Final = {"country": "{country}", "id": "{user_id}"}
KNOWN: Final = {**CLAIM, "authoritative": VOUCHED}
SEARCH: Final = {"records": "$.users[*]", "country": "$.country", "id": "$.id"}
UPSTREAM: Final = {"url": "http://127.0.0.1:9000"}


def a_route(subject: Any, **changes: Any) -> dict[str, Any]:
    """Return a route of a subject; what is changed to None is left out."""
    route = {
        "id": "user", "methods": ["GET"], "path": "/v1/{country}/users/{user_id}", "action": "read",
        "subject": subject, "fields": FIELDS, "searchable_by": ["ids", "c"], **changes,
    }  # fmt: skip
    return {key: value for key, value in route.items() if value is not None}


def an_api(*routes: dict[str, Any], **changes: Any) -> ApiEntry:
    """Return an API with these routes; what is changed to None is left out."""
    api = {"id": "users", "upstream": UPSTREAM, "routes": list(routes), **changes}
    return ApiEntry.model_validate({key: value for key, value in api.items() if value is not None})


def problems_of_route(route: dict[str, Any]) -> list[Problem]:
    """Return what is wrong with a route, by paths inside it."""
    problems = check_apis([an_api(route)])
    return [Problem(problem.path[3:], problem.message, problem.at_key) for problem in problems]


def compiled(route: dict[str, Any]) -> Route:
    """Return a route as requests need it; nothing is wrong with it."""
    entry = an_api(route)
    assert check_apis([entry]) == []
    return compile_apis([entry], {})[1][0]
