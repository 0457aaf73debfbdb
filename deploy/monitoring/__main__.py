# SPDX-License-Identifier: Apache-2.0
"""Write the files that watch gateways, or say with ``--check`` which of them are not what the code makes."""

import argparse
import sys
from collections.abc import Callable, Iterable
from typing import Final

from deploy.monitoring import dashboards, grafana_alerts, metrics_page, rule_files
from deploy.monitoring.generated import Generated

SOURCES: Final[tuple[Callable[[], Iterable[Generated]], ...]] = (
    rule_files.generate,
    rule_files.generate_tests,
    grafana_alerts.generate,
    dashboards.generate_all,
    metrics_page.generate,
)
"""Each returns the files that it makes."""


def main() -> int:
    """Write, or compare; 1 if a file has drifted."""
    parser = argparse.ArgumentParser(prog="python -m deploy.monitoring", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; say which files have drifted")
    check: bool = parser.parse_args().check
    drifted = [each for source in SOURCES for each in source() if each.has_drifted]
    for each in drifted:
        if not check:
            each.write()
        print(f"{each.place}: {'not what the code makes: make generate' if check else 'written'}")
    return 1 if check and drifted else 0


if __name__ == "__main__":
    sys.exit(main())
