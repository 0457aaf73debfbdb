# SPDX-License-Identifier: Apache-2.0
"""What a user may not write, for root as well: a test of it runs whoever runs the tests."""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_VERSION: Final = 0x20080522
"""The third, of capget(2)."""
_WRITES_ANYWHERE: Final = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH (linux/capability.h): by these root passes over the mode of a file."""

Result = TypeVar("Result")


def as_any_user(call: Callable[[], Result]) -> Result:
    """Call something where the modes of files count, also for root: in a thread that has given up passing over them."""
    with ThreadPoolExecutor(1, initializer=_give_up) as executor:
        return executor.submit(call).result()


def _give_up() -> None:
    held = (ctypes.c_uint32 * 6)()  # twice: effective, permitted, inheritable
    _call("capget", held)
    for at in range(3):
        held[at] &= ~_WRITES_ANYWHERE
    _call("capset", held)


def _call(name: str, data: "ctypes.Array[ctypes.c_uint32]") -> None:
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)  # of this very thread
    if getattr(_LIBC, name)(header, data) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
