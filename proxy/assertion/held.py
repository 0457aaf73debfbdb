# SPDX-License-Identifier: Apache-2.0
"""The keys that sign assertions, as one process holds them: taken up when their file changes. This module does I/O."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from proxy.assertion.assertions import Assertions
from proxy.assertion.key_file import parse_key_text, read_key_text
from proxy.assertion.keys import AssertionKeys
from proxy.assertion.options import AssertionOptions
from proxy.errors import UsageError
from proxy.held import HeldFile
from proxy.model.api import Api, AssertionMode


class HeldAssertionKeys:
    """The keys of one process, or none.

    Args:
        options: the settings of this room.
        seconds: how often the file is looked at; 0: only when told.

    Raises:
        UsageError: the file is named and cannot be used; or keys are to be served, and there are none.
    """

    def __init__(self, options: AssertionOptions, *, seconds: float) -> None:
        self._issuer = options.assertion_issuer
        self._file: HeldFile[AssertionKeys] | None = None
        path = options.assertion_key
        if path is not None:
            log = logging.getLogger("sekisho.assertion")
            self._file = HeldFile(
                "file of keys of assertions",
                log,
                lambda: read_key_text(path),
                lambda text: parse_key_text(path, text),
                seconds=seconds,
            )
        elif options.assertion_jwks_listen is not None:
            raise UsageError(
                "SEKISHO_ASSERTION_JWKS_LISTEN serves public keys, and there are none: make one with `sekisho keys new "
                "FILE` and set SEKISHO_ASSERTION_KEY."
            )

    @property
    def keys(self) -> AssertionKeys | None:
        """Those in use; None where the deployment has none."""
        return None if self._file is None else self._file.value

    def publish(self) -> bytes:
        """Return the public keys as a JWK Set."""
        return b'{"keys":[]}' if self._file is None else self._file.value.publish()

    def make(self, apis: Iterable[Api], bundle: str) -> Assertions | None:
        """Return what signs decisions under a bundle; None where the deployment has no key.

        Args:
            apis: of the bundle.
            bundle: the digest that names it.

        Raises:
            UsageError: an API declares an assertion, and nothing can sign it.
        """
        self.check(apis)
        return None if self._file is None else Assertions(self._file.value, self._issuer, bundle)

    def check(self, apis: Iterable[Api]) -> None:
        """Refuse, with UsageError, an API that declares an assertion where nothing can sign it."""
        for api in apis if self._file is None else ():
            if api.assertion not in {None, AssertionMode.OFF}:
                raise UsageError(
                    f"The API {api.id} declares `assertion: {api.assertion}`, and no key is there to sign it: make one "
                    "with `sekisho keys new FILE` and set SEKISHO_ASSERTION_KEY, or declare `assertion: off`."
                )

    def find_doubts(self) -> tuple[str, ...]:
        """Return why the file as it lies there is not in use; nothing while it is."""
        return (self._file.stale,) if self._file is not None and self._file.stale else ()

    def poke(self) -> None:
        """Look now."""
        if self._file is not None:
            self._file.poke()

    async def watch(self, adopt: Callable[[], None]) -> None:
        """Watch until cancelled; ``adopt`` puts the keys in use to use."""
        if self._file is None:
            await asyncio.Event().wait()  # there is nothing to watch
        else:
            await self._file.watch(adopt)
