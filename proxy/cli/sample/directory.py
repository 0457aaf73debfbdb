# SPDX-License-Identifier: Apache-2.0
"""``sekisho sample directory``: serves the reference bundle's lookup, the country of a user by their id."""

import argparse

from proxy.cli.run import run_loop
from proxy.cli.sample import add_listen_flag
from proxy.demo.directory import create_directory
from proxy.demo.people import generate_users
from proxy.demo.serving import serve


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_listen_flag(parser, "127.0.0.1:9100")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    run_loop(serve(create_directory({user.id: user.country for user in generate_users()}), options.listen))
    return 0
