# SPDX-License-Identifier: Apache-2.0
"""Our exceptions. A "no" to a caller is never one of these: it is a value with a reason.

::

    SekishoError            something cannot be done; str(error) is one sentence with the mend
     ├─ UsageError          a flag, a setting, a file or a port cannot be used that way
     ├─ BundleError         a policy folder does not load; carries every problem found
     ├─ FetchError          another party did not answer as it should
     ├─ KeySetError         an issuer's key set could not be had or read
     │   └─ KeysWithdrawnError   it was had, and is empty
     ├─ StoreError          a file of large registers cannot be used, so nobody can be looked up
     ├─ ArchiveError        a bundle could not be kept beside its records, so it is not put in force
     │   └─ FolderChangedError   its folder holds something else by now
     └─ LedgerError         a line could not be made durable, so nothing may leave
"""

from collections.abc import Sequence


class SekishoError(Exception):
    """The root of our exceptions; the message is for the person who can mend it."""


class UsageError(SekishoError):
    """A flag, setting, file or port cannot be used that way."""


class BundleError(SekishoError):
    """A policy folder does not load.

    Args:
        problems: every problem of the whole folder, each ``file:line:column: what is wrong``.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type["BundleError"], tuple[tuple[str, ...]]]:
        return BundleError, (self.problems,)


class FetchError(SekishoError):
    """Another party could not be asked, or did not answer whole and in time."""


class KeySetError(SekishoError):
    """An issuer's key set could not be fetched, read or understood."""


class KeysWithdrawnError(KeySetError):
    """An issuer publishes, in good order, no key at all."""


class StoreError(SekishoError):
    """A file of large registers is not there, not whole, not ours, or not what its name says."""


class ArchiveError(SekishoError):
    """A bundle could not be kept beside the records that name it."""


class FolderChangedError(ArchiveError):
    """A policy folder does not hold any more what was loaded from it."""


class LedgerError(SekishoError):
    """A ledger line could not be made durable."""
