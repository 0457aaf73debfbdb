# SPDX-License-Identifier: Apache-2.0
"""Reads the data subject from a request's path parameters.

A country that a caller wrote is only a claim; the loader takes it as the subject's country only where an owner
vouches that the API cannot answer otherwise (``authoritative``). A text that is no country is unknown.
"""

from collections.abc import Mapping
from functools import lru_cache

from proxy.model.api import Selector, SubjectSource, Where
from proxy.model.country import parse_country
from proxy.model.facts import UNKNOWN, Fact
from proxy.model.subject import NO_SUBJECT, Subject


def select_subject(source: SubjectSource | None, parameters: Mapping[str, str]) -> Subject:
    """Return whose data a request is about."""
    if source is None:
        return NO_SUBJECT
    country, id_ = source.country, source.id
    return Subject(
        country=UNKNOWN if country is None else _find_country(_read(country, parameters)),
        id=UNKNOWN if id_ is None else _read(id_, parameters),
        source="" if country is None else country.where,
    )


def _read(selector: Selector, parameters: Mapping[str, str]) -> str:
    return parameters[selector.name] if selector.where is Where.PATH else selector.name


@lru_cache(maxsize=1024)
def _find_country(text: str) -> Fact[str]:
    """Return the country of a text; which texts are countries never changes."""
    return parse_country(text) or UNKNOWN
