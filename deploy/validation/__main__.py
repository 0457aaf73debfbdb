# SPDX-License-Identifier: Apache-2.0
"""Judge every file under ``deploy/``, and print by what each was judged; 1 if any is wrong."""

import os
import sys
from typing import Final

from deploy.validation import compose, grafana, grafana_alerts, kubernetes, prometheus, python_files, systemd
from deploy.validation.checks import DEPLOY, Check, find_unchecked, list_files, select

CHECKS: Final[tuple[Check, ...]] = (
    *compose.CHECKS,
    *grafana.CHECKS,
    *grafana_alerts.CHECKS,
    *kubernetes.CHECKS,
    *prometheus.CHECKS,
    *python_files.CHECKS,
    *systemd.CHECKS,
)
"""All of them; each kind of file has a module of this folder."""


def main() -> int:
    """Judge, and tell."""
    files = list_files()
    problems = [
        f"{path.relative_to(DEPLOY)}: no check looks at it: add one to deploy/validation/"
        for path in find_unchecked(CHECKS, files)
    ]
    for check in CHECKS:
        chosen = select(check, files)
        if missing := check.missing:
            print(f"  not judged  {check.title}: {missing}")
            if "CI" in os.environ:  # noqa: TID251 - nothing may go unjudged where nobody reads what is printed
                problems.append(f"{check.title}: {missing}")
            continue
        found = [*check.find_problems(chosen)]
        print(f"  {'wrong' if found else 'right':<10}  {len(chosen):>3} files  {check.title}")
        problems += found
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
