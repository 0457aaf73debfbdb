# SPDX-License-Identifier: Apache-2.0
"""The directory: tells the country of a user's id, one or many at a time, and nothing else of them.

- ``GET /countries/42`` answers ``{"country": "JP"}``, or 404 where there is no such user.
- ``GET /countries?ids=42,43`` answers ``{"countries": {"42": "JP", "43": "KR"}}``; an id of nobody is left out.
"""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from proxy.demo.wire import explain_refusals, to_json

MAX_IDS: Final = 500


def create_directory(countries: Mapping[str, str]) -> web.Application:
    """Build the service over the countries of users, by their ids."""

    async def tell_one(request: web.Request) -> web.Response:
        country = countries.get(request.match_info["id"])
        if country is None:
            raise web.HTTPNotFound(text="No user has this id.")
        return web.json_response({"country": country}, dumps=to_json)

    async def tell_many(request: web.Request) -> web.Response:
        ids = request.query.get("ids", "").split(",")
        if len(ids) > MAX_IDS:
            raise web.HTTPBadRequest(text=f"Ask for at most {MAX_IDS} ids at once.")
        return web.json_response({"countries": {id_: countries[id_] for id_ in ids if id_ in countries}}, dumps=to_json)

    app = web.Application(middlewares=[explain_refusals])
    app.add_routes([web.get("/countries", tell_many), web.get("/countries/{id}", tell_one)])
    return app
