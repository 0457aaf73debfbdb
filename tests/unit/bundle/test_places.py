# SPDX-License-Identifier: Apache-2.0
"""Where a deployment finds the places at which APIs are served."""

from typing import Final

import pytest

from proxy.bundle.places import check_names, parse_urls
from proxy.errors import UsageError
from proxy.model.api import Api, Upstream

USERS: Final = Api(
    "users",
    (),
    Upstream("http://kr:1", "KR"),
    forwards_authorization=False,
    upstreams={"JP": Upstream("http://jp:1", "JP"), "TW": Upstream("http://tw:1", "TW")},
)
TALKS: Final = Api("talks", ("talks",), Upstream("http://talks:1", None), forwards_authorization=False)


def test_a_place_is_named_by_its_api_and_its_country() -> None:
    urls = {"users": "unix:/run/users", "users/JP": "https://x", "talks": "http://y:1"}
    assert parse_urls(urls) == urls
    check_names(urls, [USERS, TALKS])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("user", "an API 'user' .*did you mean 'users'", id="an API that is none"),
        pytest.param("users/KR", "name one of users/JP, users/TW", id="a country without an upstream"),
        pytest.param("users/jp", "'jp'.*name one of users/JP", id="a country in lower case"),
        pytest.param("talks/JP", "write talks=URL", id="an API with one upstream for all"),
        pytest.param("users/", "for ''", id="no country at all"),
    ],
)
def test_what_names_no_place_is_refused_with_the_mend(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_names({name: "http://x"}, [USERS, TALKS])


def test_what_is_no_url_is_told_with_the_place() -> None:
    with pytest.raises(UsageError, match=r"--upstream users/JP: .*no URL"):
        parse_urls({"users/JP": "x"})
