# SPDX-License-Identifier: Apache-2.0
"""Where a Redis is: its URL, without a password."""

import re
from typing import Final

REDIS_URL: Final = re.compile(
    r"rediss?://(?:[^\s/@:?#]+@)?(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?(?:/[0-9]{1,3})?"
    r"|unix:///[^\s?#]+(?:\?db=[0-9]{1,3})?"
)
