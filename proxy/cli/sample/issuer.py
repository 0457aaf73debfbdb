# SPDX-License-Identifier: Apache-2.0
"""``sekisho sample issuer``: the reference bundle's issuers, for trying out: who reaches it can be anybody."""

import argparse
from pathlib import Path

from proxy.cli.run import run_loop
from proxy.cli.sample import add_listen_flag
from proxy.demo.issuer import make_issuer_app
from proxy.demo.issuer_keys import open_issuers, open_tls
from proxy.demo.serving import serve
from proxy.demo.story import PEOPLE


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add_listen_flag(parser, "127.0.0.1:9200")
    add("--keys", type=Path, required=True, metavar="DIR", help="the folder that keeps its keys; made if it has none")
    text = "serve TLS by this certificate, which signs itself; made if it is not there: for whoever shall trust it"
    add("--certificate", type=Path, metavar="FILE", help=text)
    add("--name", default="localhost", metavar="HOST", help="the host of a certificate that is made (localhost)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    app = make_issuer_app(open_issuers(options.keys), PEOPLE)
    tls = None if options.certificate is None else open_tls(options.keys, options.certificate, options.name)
    run_loop(serve(app, options.listen, tls))
    return 0
