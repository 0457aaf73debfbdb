# SPDX-License-Identifier: Apache-2.0
"""``python -m proxy.cli`` is ``sekisho``."""

import sys

from proxy.cli import main

if __name__ == "__main__":
    sys.exit(main())
