# SPDX-License-Identifier: Apache-2.0
"""``sekisho sample receiver``: takes webhooks of Alertmanager and Grafana, and prints each alert on a line."""

import argparse

from proxy.cli.run import run_loop
from proxy.cli.sample import add_listen_flag
from proxy.cli.terminal import plain
from proxy.demo.receiver import create_receiver
from proxy.demo.serving import serve


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_listen_flag(parser, "127.0.0.1:9099")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    run_loop(serve(create_receiver(lambda line: print(plain(line), flush=True)), options.listen))
    return 0
