# SPDX-License-Identifier: Apache-2.0
"""Where a deployment finds the places at which APIs are served."""

from typing import Final

import pytest

from proxy.bundle.relocate import relocate
from proxy.errors import UsageError
from proxy.model.api import Action, Api, Route, Upstream
from proxy.model.facts import FactSet

PLACES: Final = {"JP": Upstream("http://jp:1", "JP"), "TW": Upstream("http://tw:1", "TW")}
USERS: Final = Api("users", (), Upstream("http://kr:1", "KR"), forwards_authorization=False, upstreams=PLACES)
TALKS: Final = Api("talks", ("talks",), Upstream("http://talks:1", None), forwards_authorization=False)
ROUTE: Final = Route(
    USERS, "user", ("GET",), (), Action.READ, None, FactSet(frozenset()), unauthenticated=False, max_duration_seconds=60
)


def relocated(**urls: str) -> dict[str, tuple[str, str | None]]:
    """Return where each place is, and the country that hosts it."""
    apis, routes = relocate([USERS, TALKS], [ROUTE], {name.replace("_", "/"): url for name, url in urls.items()})
    assert routes[0].api is apis[0], "a route is of the API that is served"
    return {name: (place.url, place.hosted_in) for api in apis for name, place in api.named_places}


AS_DECLARED: Final = {
    "users": ("http://kr:1", "KR"), "users/JP": ("http://jp:1", "JP"), "users/TW": ("http://tw:1", "TW"),
    "talks": ("http://talks:1", None),
}  # fmt: skip


def test_without_a_word_every_place_is_where_the_bundle_says() -> None:
    assert relocated() == AS_DECLARED


def test_a_place_moves_alone_and_stays_in_its_country() -> None:
    assert relocated(users_JP="https://x") == AS_DECLARED | {"users/JP": ("https://x", "JP")}
    assert relocated(users="unix:/run/users") == AS_DECLARED | {"users": ("unix:/run/users", "KR")}


@pytest.mark.parametrize(
    ("name", "url", "words"),
    [
        pytest.param("user", "http://x", "an API 'user' .*did you mean 'users'", id="an API that is none"),
        pytest.param("users/KR", "http://x", "name one of users/JP, users/TW", id="a country without an upstream"),
        pytest.param("users/jp", "http://x", "'jp'.*name one of users/JP", id="a country in lower case"),
        pytest.param("talks/JP", "http://x", "write talks=URL", id="an API with one upstream for all"),
        pytest.param("users/JP", "x", "--upstream users/JP: .*no URL", id="what is no URL"),
        pytest.param("users/", "http://x", "for ''", id="no country at all"),
    ],
)
def test_what_names_no_place_is_refused_with_the_mend(name: str, url: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        relocate([USERS, TALKS], [ROUTE], {name: url})
