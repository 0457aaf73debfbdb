# SPDX-License-Identifier: Apache-2.0
"""Lookups of a test's own, and a directory that answers as it is told."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from proxy.model.country import CountryForm
from proxy.model.json_path import parse_json_path
from proxy.model.subject import Located, Told
from proxy.subject.places import split_ids
from proxy.subject.register import Asked, How, HttpQuestion

JP = Located(Told.FOUND, ("JP",))
TW = Located(Told.FOUND, ("TW",))


def an_asked(how: How | None = None, **changes: Any) -> Asked:
    """Return a lookup that is asked elsewhere."""
    manner: dict[str, Any] = {
        "id": "staff",
        "form": CountryForm.ALPHA2,
        "fresh_seconds": 600,
        "fresh_not_found_seconds": 30,
        "timeout_seconds": 5.0,
        "batch": 100,
        "at_once": 8,
        "kept": 2000,
    }
    return Asked(how=how or HttpQuestion("http://127.0.0.1:9/{id}", parse_json_path("$.country")), **(manner | changes))


class ToldBackend:
    """Says what it is told, and remembers what it was asked."""

    def __init__(self, told: Mapping[str, Located], most: int = 100) -> None:
        self.told = dict(told)
        self.most = most
        self.error: Exception | None = None
        self.asked: list[list[str]] = []
        self.most_at_once = 0
        self.is_open = False
        self.go_on = asyncio.Event()
        self.go_on.set()
        self._now = 0

    def check(self) -> None:
        """Lack nothing."""

    def split(self, ids: Sequence[str]) -> list[list[str]]:
        return [*split_ids(ids, self.most)]

    async def ask(self, ids: Sequence[str]) -> Mapping[str, Located]:
        self.asked.append([*ids])
        self.is_open = True
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            await self.go_on.wait()
        finally:
            self._now -= 1
        if self.error is not None:
            raise self.error
        return self.told

    async def close(self) -> None:
        self.is_open = False
