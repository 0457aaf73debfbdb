# SPDX-License-Identifier: Apache-2.0
"""The version of this program, as its distribution says it."""

from importlib.metadata import version
from typing import Final

VERSION: Final = version("sekisho")
