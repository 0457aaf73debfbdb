# SPDX-License-Identifier: Apache-2.0
"""Where a deployment finds the APIs, in place of what the bundle says. That is no policy, and in no digest.

A place is named as ``Api.named_places`` has it: ``users`` where an API is served, ``users/JP`` where it is for subjects
of one country. Its URL moves, the country in which it is hosted does not.
"""

from collections.abc import Iterable, Mapping, Sequence

from proxy.bundle.apis import parse_upstream_url
from proxy.errors import UsageError
from proxy.model.api import Api
from proxy.model.problem import nearest


def parse_urls(urls: Mapping[str, str]) -> dict[str, str]:
    """Return the URLs as connections take them, by the name of a place.

    Raises:
        UsageError: one is none.
    """
    found = {}
    for name, url in urls.items():
        try:
            found[name] = parse_upstream_url(url)
        except ValueError as error:
            raise UsageError(f"--upstream {name}: {error}.") from error
    return found


def check_names(names: Iterable[str], apis: Iterable[Api]) -> None:
    """Refuse what names no place of the bundle's.

    Raises:
        UsageError: one does not.
    """
    places = [place for api in apis for place, _ in api.named_places]
    for name in names:
        if name not in places:
            raise UsageError(_say_undeclared(name, places))


def _say_undeclared(name: str, places: Sequence[str]) -> str:
    api, slash, country = name.partition("/")
    if slash and api in places:
        others = ", ".join(place for place in places if place.startswith(f"{api}/"))
        mend = f"name one of {others}" if others else f"write {api}=URL"
        return f"--upstream names {name!r}, and {api!r} has no upstream of its own for {country!r}: {mend}."
    return f"--upstream names an API {name!r} that the bundle does not declare{nearest(name, places)}."
