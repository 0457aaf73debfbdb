# SPDX-License-Identifier: Apache-2.0
"""Write where the runbooks are, as alerts and dashboards name them: the one line of ``runbooks.txt``.

It is a setting of whoever deploys, so it stands in no code: ``make generate`` writes files by it, ``make check`` holds
them to it.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Final

PAGES: Final = "docs/runbooks"
"""Where the pages are in the project, which is what is said until somebody says otherwise."""
PLACE: Final = Path(__file__).with_name("runbooks.txt")
_ADDRESS: Final = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~!&()*+,;=:@%/-]*)?")
"""A URL without query and fragment, of characters that neither templates nor YAML, JSON and Markdown take for more."""


class RunbooksError(ValueError):
    """No link can lead there; the message says what can be named."""


def parse_base(text: str) -> str:
    """Return the address below which the pages are, without a slash at its end.

    Raises:
        RunbooksError: it is none.
    """
    base = text.strip().rstrip("/")
    if base != PAGES and not _ADDRESS.fullmatch(base):
        raise RunbooksError(
            f"{base!r} is no address of runbooks: write the URL below which the pages of {PAGES} are, such as "
            f"https://wiki.example/sekisho/runbooks, or {PAGES}."
        )
    return base


def link(page: str) -> str:
    """Return where the page of that name is.

    Raises:
        RunbooksError: what stands in the file is no address.
    """
    return f"{parse_base(PLACE.read_text(encoding='utf-8'))}/{page}.md"


def main() -> int:
    """Write it; 2 if it is no address."""
    parser = argparse.ArgumentParser(prog="python -m deploy.monitoring.runbooks", description=__doc__)
    parser.add_argument("base", metavar="URL", help=f"below which the pages are, or {PAGES}")
    try:
        base = parse_base(parser.parse_args().base)
    except RunbooksError as error:
        print(error, file=sys.stderr)
        return 2
    PLACE.write_text(f"{base}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
