# SPDX-License-Identifier: Apache-2.0
"""``sekisho sample api``: serves the reference bundle's API over made-up people. Changes end with the process."""

import argparse
import tempfile
from pathlib import Path

from proxy.cli.run import run_loop
from proxy.cli.sample import add_listen_flag
from proxy.demo.people import generate_payments, generate_reports, generate_users
from proxy.demo.records import create_database
from proxy.demo.sample_api import create_app
from proxy.demo.serving import serve


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_listen_flag(parser, "127.0.0.1:9000")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    with tempfile.TemporaryDirectory(prefix="sekisho-sample-") as folder:
        database = Path(folder) / "users.sqlite"
        users = list(generate_users())
        create_database(database, users, generate_reports(users), generate_payments(users))
        run_loop(serve(create_app(database), options.listen))
    return 0
