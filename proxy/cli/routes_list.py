# SPDX-License-Identifier: Apache-2.0
"""``sekisho routes list``: every declared route, whose data it carries, and what of its answers may leave."""

import argparse
import json
from pathlib import Path
from typing import Final

import msgspec

from proxy.bundle.check import load_bundle
from proxy.cli.terminal import plain
from proxy.model.api import Route, Selector, SubjectSource, Where
from proxy.model.inspection import Inspection, Media, OnDenied
from proxy.model.json_path import render_json_path

_PLACES: Final = {
    Where.LITERAL: "{}",
    Where.PATH: "{{{}}} of the path",
    Where.QUERY: "query {}",
    Where.HEADER: "header {}",
    Where.JSON: "body {}",
    Where.FORM: "form {}",
}


class Listed(msgspec.Struct, frozen=True):
    """One route, for people."""

    api: str
    route: str
    methods: str
    path: str
    action: str
    whose: str
    leaves: str
    """Of an answer that is looked into."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("policies", type=Path, help="the policy folder")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the routes in the order of the folder."""
    catalog = load_bundle(options.policies).catalog
    rows = [list_route(route) for route in catalog.routes]
    if options.json:
        print(json.dumps([msgspec.to_builtins(row) for row in rows], indent=2))
        return 0
    for api in catalog.apis:
        places = (
            f"{name} at {place.url} ({place.hosted_in or 'nobody says where'})" for name, place in api.named_places
        )
        print(plain("; ".join(places)))
        for row in (row for row in rows if row.api == api.id):
            print(plain(f"  {row.route}: {row.methods} {row.path} ({row.action})"))
            print(plain(f"    whose   {row.whose}"))
            print(plain(f"    leaves  {row.leaves}"))
    return 0


def list_route(route: Route) -> Listed:
    """Return a route as a person reads it."""
    path = "/" + "/".join(f"{{{each.text}}}" if each.is_parameter else each.text for each in route.segments)
    return Listed(
        api=route.api.id,
        route=route.id,
        methods=" ".join(route.methods),
        path=path,
        action=route.action,
        whose=_tell_subject(route.subject, route.inspection),
        leaves=_tell_answers(route.inspection, is_personal=route.subject is not None),
    )


def _tell_subject(subject: SubjectSource | None, inspection: Inspection | None) -> str:
    if subject is None:
        return "nobody's"
    country, id_ = _tell_country(subject, inspection), _tell_id(subject, inspection)
    if subject.lookup:
        return f"register {subject.lookup}, by {id_}"
    return f"{country}; id: {id_}" if id_ else country


def _tell_country(subject: SubjectSource, inspection: Inspection | None) -> str:
    header = f"header {subject.header} of the answer" if subject.header else ""
    record = inspection.country if inspection is not None else None
    told = header or (f"{render_json_path(record)} of each record" if record is not None else "")
    if subject.country is None:
        return told
    return f"{_tell_place(subject.country)}, " + (f"confirmed by {told}" if subject.is_confirmed else "vouched for")


def _tell_id(subject: SubjectSource, inspection: Inspection | None) -> str:
    if subject.id is not None:
        return _tell_place(subject.id)
    if inspection is not None and inspection.is_id_key:
        return "the key of each record"
    if inspection is not None and inspection.id is not None:
        return f"{render_json_path(inspection.id)} of each record"
    return ""


def _tell_place(selector: Selector) -> str:
    return _PLACES[selector.where].format(selector.name)


def _tell_answers(inspection: Inspection | None, *, is_personal: bool) -> str:
    if inspection is None:
        return "all of it, or nothing: no fields are declared" if is_personal else "all of it"
    records = render_json_path(inspection.records)
    media = f"{inspection.media}, " if inspection.media is not Media.JSON else ""
    fields = f"{len(inspection.fields)} field{'' if len(inspection.fields) == 1 else 's'} of {records}"
    members = f", {len(inspection.members)} beside" if inspection.members else ""
    whole = ", refused whole" if inspection.on_denied is OnDenied.REFUSE else ""
    return f"{media}{fields}{members}{whole}"
