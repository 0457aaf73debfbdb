# SPDX-License-Identifier: Apache-2.0
"""Where a deployment finds the APIs, in place of what the bundle says. That is no policy, and in no digest.

A place is named as ``Api.named_places`` has it: ``users`` where an API is served, ``users/JP`` where it is for subjects
of one country. Its URL moves, the country in which it is hosted does not.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from proxy.bundle.apis import parse_upstream_url
from proxy.errors import UsageError
from proxy.model.api import Api, Route, Upstream
from proxy.model.problem import nearest


def relocate(apis: Iterable[Api], routes: Iterable[Route], urls: Mapping[str, str]) -> tuple[list[Api], list[Route]]:
    """Return APIs and their routes with the upstreams where this deployment finds them.

    Args:
        apis: as the bundle declares them.
        routes: theirs.
        urls: by the name of a place.

    Raises:
        UsageError: a name is no place of the bundle's, or what it stands for is no URL.
    """
    found = {name: place for api in apis for name, place in api.named_places}
    moved = {name: _move(name, url, found) for name, url in urls.items()}
    by_id = {api.id: _relocate(api, moved) for api in apis}
    return list(by_id.values()), [msgspec.structs.replace(route, api=by_id[route.api.id]) for route in routes]


def _move(name: str, url: str, places: Mapping[str, Upstream]) -> Upstream:
    if name not in places:
        raise UsageError(_say_undeclared(name, list(places)))
    try:
        return Upstream(parse_upstream_url(url), places[name].hosted_in)
    except ValueError as error:
        raise UsageError(f"--upstream {name}: {error}.") from error


def _say_undeclared(name: str, places: Sequence[str]) -> str:
    api, slash, country = name.partition("/")
    if slash and api in places:
        others = ", ".join(place for place in places if place.startswith(f"{api}/"))
        mend = f"name one of {others}" if others else f"write {api}=URL"
        return f"--upstream names {name!r}, and {api!r} has no upstream of its own for {country!r}: {mend}."
    return f"--upstream names an API {name!r} that the bundle does not declare{nearest(name, places)}."


def _relocate(api: Api, moved: Mapping[str, Upstream]) -> Api:
    return msgspec.structs.replace(
        api,
        upstream=moved.get(api.id, api.upstream),
        upstreams={country: moved.get(f"{api.id}/{country}", place) for country, place in api.upstreams.items()},
    )
