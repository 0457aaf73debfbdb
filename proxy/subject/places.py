# SPDX-License-Identifier: Apache-2.0
"""Where directories are, and how ids are written into what they are asked.

An id is somebody else's text. It is written into a URL percent-encoded to the last reserved character, and never into
SQL: there a parameter stands for it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import quote  # noqa: TID251 - ids in a directory's URL, no request target

from proxy.model.redis_url import REDIS_URL

ID: Final = "{id}"
IDS: Final = "{ids}"
MAX_URL: Final = 4000
"""Characters of a URL with ids in it: servers refuse from 8,000 on, some from 4,096."""
_TEMPLATE: Final = re.compile(
    r"https?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?[/?][!$-;=?-\[\]_a-z{}~]*"
)
_LOOPBACK: Final = re.compile(r"http://(?:127\.0\.0\.1|\[::1\]|localhost)[:/?]")
_POSTGRESQL: Final = re.compile(
    r"postgres(?:ql)?://(?:[^\s/@:?#]+@)?(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]*)(?::[0-9]{1,5})?/[^\s/?#]+(?:\?[!-~]*)?"
)
_SELECT: Final = re.compile(r"\s*(?:select|with)\b", re.IGNORECASE)
_IN: Final = re.compile(r"\bin\s*\(\s*\{ids\}", re.IGNORECASE)
_DOTS: Final = re.compile(r"/\.\.?(?=[/?]|$)")


def parse_url_template(text: str) -> str:
    """Return a URL in which ids have their place; ValueError with a sentence if the text is none."""
    if not _TEMPLATE.fullmatch(text):
        raise ValueError(f"{text!r} is no URL such as https://directory.internal/users/{ID}")
    if (text.count(ID) + text.count(IDS), text.count("{"), text.count("}")) != (1, 1, 1):
        raise ValueError(f"{text!r} says once where the id stands, {ID}, or where several stand, {IDS}")
    if _has_dots(text):
        raise ValueError(f"{text!r} has a segment of dots alone: write where that leads")
    return text


def _has_dots(url: str) -> bool:
    return _DOTS.search(url.partition("?")[0]) is not None


def check_secrecy(template: str) -> None:
    """Refuse to send a secret in clear over a network; ValueError with a sentence."""
    if template.startswith("http://") and not _LOOPBACK.match(template):
        raise ValueError("a token is not sent over plain http except to loopback: write https://")


def parse_redis_url(text: str) -> str:
    """Return where a Redis is; ValueError with a sentence, and without the text, which may hold a password."""
    if not REDIS_URL.fullmatch(text):
        raise ValueError(
            "it is none of redis://HOST:6379/0, rediss://HOST:6379/0 and unix:///PATH; a user may stand before the "
            "host, and its password is a secret, `password`"
        )
    return text


def parse_postgresql_url(text: str) -> str:
    """Return where a PostgreSQL database is; ValueError with a sentence, and without the text, as above."""
    if not _POSTGRESQL.fullmatch(text) or "password=" in text:
        raise ValueError(
            "it is no postgresql://USER@HOST:5432/DATABASE without a password, which is a secret, `password`; or the "
            "whole URL is one, {secret: env:NAME}"
        )
    return text


def parse_path(text: str) -> str:
    """Return the path of a database; ValueError with a sentence if it is not from the root on."""
    if not text.startswith("/") or "\0" in text:
        raise ValueError(
            f"{text!r} is no path from the root on: a database that others write lies outside of the folder"
        )
    return text


def parse_redis_key(text: str) -> str:
    """Return the key of a Redis in which an id has its place; ValueError with a sentence if the text is none."""
    if text.count(ID) != 1:
        raise ValueError(f"{text!r} says once where the id stands: {ID}, as in user:{ID}:country")
    return text


def parse_query(text: str) -> str:
    """Return SQL in which ids have their place; ValueError with a sentence if the text is none."""
    if not _SELECT.match(text) or ";" in text:
        raise ValueError("it is one query, SELECT id, country FROM …, without a semicolon")
    if text.count(IDS) != 1:
        raise ValueError(f"the query says once where the ids stand: {IDS}")
    return text


def parse_array_query(text: str) -> str:
    """Return SQL in which an array of ids has its place; ValueError with a sentence if the text is none."""
    if _IN.search(parse_query(text)):
        raise ValueError(f"ids are one array here: write = ANY({IDS}), or = ANY({IDS}::bigint[]) where ids are numbers")
    return text


def render_url(template: str, ids: Sequence[str]) -> str | None:
    """Return the URL that asks about ids; None where they would make another path of it (RFC 3986 5.2.4)."""
    mark = IDS if IDS in template else ID
    url = template.replace(mark, ",".join(quote(each, safe="") for each in ids))
    return None if _has_dots(url) else url


def measure_id(id_: str) -> int:
    """Return how many characters an id takes in a URL, with the comma behind it."""
    return len(quote(id_, safe="")) + 1


def split_ids(
    ids: Iterable[str], most: int, sizes: Iterable[int] | None = None, room: int = MAX_URL
) -> Iterator[list[str]]:
    """Yield ids in parts, each of which can be asked at once.

    Args:
        ids: all of them.
        most: how many a part may have.
        sizes: how much room each takes; None: none.
        room: how much a part may take, unless it has one id alone.
    """
    part: list[str] = []
    taken = 0
    for id_, size in ((each, 0) for each in ids) if sizes is None else zip(ids, sizes, strict=True):
        if part and (len(part) == most or taken + size > room):
            yield part
            part, taken = [], 0
        part.append(id_)
        taken += size
    if part:
        yield part
