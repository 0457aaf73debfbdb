# SPDX-License-Identifier: Apache-2.0
"""Reads the data subject from a request's path parameters.

A country that a caller wrote is only a claim; the loader takes it as the subject's country only where an owner
vouches that the API cannot answer otherwise (``authoritative``). A text that is no country is unknown.
"""

from collections.abc import Mapping

from proxy.model.api import SubjectSource, Template
from proxy.model.country import parse_country
from proxy.model.facts import UNKNOWN, Fact
from proxy.model.subject import NO_SUBJECT, Subject


def select_subject(source: SubjectSource | None, parameters: Mapping[str, str]) -> Subject:
    """Return whose data a request is about."""
    if source is None:
        return NO_SUBJECT
    country = _read(source.country, parameters)
    return Subject(
        country=parse_country(country) or UNKNOWN if isinstance(country, str) else UNKNOWN,
        id=_read(source.id, parameters),
    )


def _read(template: Template | None, parameters: Mapping[str, str]) -> Fact[str]:
    if template is None:
        return UNKNOWN
    return parameters[template.text] if template.is_parameter else template.text
