# SPDX-License-Identifier: Apache-2.0
"""Secrets in a policy folder are references: a value written there would be read by whoever reads the folder."""

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator

from proxy.model.entry import Entry, refuse, scalar, spelled

_REFERENCE: Final = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]{0,127}|file:/[^\x00]+")


def parse_secret_reference(text: str) -> str:
    """Return where a secret is kept; ValueError with a sentence if that is no reference."""
    if not _REFERENCE.fullmatch(text):
        raise ValueError("a secret is kept elsewhere: write env:NAME or file:/ABSOLUTE/PATH")
    return text


class SecretEntry(Entry):
    """A reference to a secret."""

    secret: Annotated[str, scalar(parse_secret_reference, spelled(_REFERENCE))]
    """``env:NAME``, or ``file:PATH`` with an absolute path: a secret does not lie among the policies."""


def _refuse_literal(raw: Any) -> Any:
    if not isinstance(raw, dict):
        raise refuse("a secret is never written here: write {secret: env:NAME} or {secret: file:/ABSOLUTE/PATH}")
    return raw


Secret = Annotated[SecretEntry, BeforeValidator(_refuse_literal, json_schema_input_type=SecretEntry)]
