# SPDX-License-Identifier: Apache-2.0
"""``sekisho keys rotate FILE``: adds a key that signs from a later moment on, and drops those long out of use."""

import argparse
from pathlib import Path
from typing import Final

from proxy.assertion.key_file import parse_key_text, read_key_text
from proxy.assertion.keys import AssertionKey
from proxy.cli.keys.new import add_algorithm_flag
from proxy.clock import render_instant, unix_seconds
from proxy.disk import replace_file
from proxy.errors import UsageError
from proxy.model.entry import parse_duration

AFTER: Final = "1h"
"""Time enough for every copy of the published keys to be renewed: one may be kept for five minutes."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the file, as SEKISHO_ASSERTION_KEY names it")
    text = f"how long the new key is only published before it signs, such as 30s, 15m or 2h ({AFTER})"
    parser.add_argument("--after", default=AFTER, metavar="DURATION", help=text)
    add_algorithm_flag(parser, None)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Put the new key into the file."""
    path, now = options.file, unix_seconds()
    try:
        since = now + parse_duration(options.after)
    except ValueError as error:
        raise UsageError(f"--after: {error}.") from None
    text = read_key_text(path)
    keys = parse_key_text(path, text)
    last = list(keys)[-1]
    if since <= last.since:
        raise UsageError(
            f"{path} holds a key already that signs from {render_instant(last.since)} on: wait for that, or name a "
            "longer --after."
        )
    new = AssertionKey.generate(since, options.algorithm or last.algorithm)
    changed = keys.rotate(text, new, now)
    replace_file(path, changed)
    dropped = len(list(keys)) + 1 - len(list(parse_key_text(path, changed)))
    print(f"{path} has a new key, {new.id}: it signs from {render_instant(since)} on.")
    if dropped:
        print(f"{dropped} that signed nothing for an hour {'is' if dropped == 1 else 'are'} gone from it.")
    print("Before that moment copy it to every replica that has a file of its own, and hand what `sekisho keys export`")
    print("prints to those APIs that do not fetch it.")
    return 0
