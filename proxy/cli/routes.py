# SPDX-License-Identifier: Apache-2.0
"""``sekisho routes``: drafts routes from an OpenAPI document, lists those that are declared, and what none declares."""

import argparse
import http.client
import json
import re
import sys
from pathlib import Path
from typing import Final

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from proxy.bundle.openapi import draft_apis
from proxy.bundle.read import MAX_FILE_BYTES, parse_document
from proxy.cli import routes_list
from proxy.cli.terminal import plain
from proxy.errors import UsageError
from proxy.model.entry import parse_id
from proxy.settings import parse_endpoint, read_settings

TIMEOUT_SECONDS: Final = 5.0
MAX_METRICS_BYTES: Final = 32 * 1024 * 1024
"""Ten times what a gateway with every metric full tells."""
_PAIR: Final = re.compile(rb"(?<!\\)((?:\\\\){0,64})\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
"""RFC 8259 7: a character beyond U+FFFF, escaped in JSON."""
FAMILY: Final = "sekisho_undeclared_requests"


class Seen(msgspec.Struct, frozen=True):
    """Requests that no route declares, as a gateway counts them."""

    method: str
    shape: str
    requests: int


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's own verbs."""
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    what = "draft the register `apis` from an OpenAPI 3 document, on stdout"
    draft = verbs.add_parser("import", help=what, description=f"{what[0].upper()}{what[1:]}.")
    draft.add_argument("document", type=Path, help="the OpenAPI document, YAML or JSON")
    draft.add_argument("--api", metavar="ID", help="the id of the API (from the document's title)")
    draft.set_defaults(run=import_routes)
    what = "list the routes that a policy folder declares, whose data they carry and what may leave"
    listed = verbs.add_parser("list", help=what, description=f"{what[0].upper()}{what[1:]}.")
    routes_list.configure(listed)
    what = "list what callers of a running gateway ask for and no route declares"
    seen = verbs.add_parser("seen", help=what, description=f"{what[0].upper()}{what[1:]}.")
    seen.add_argument("--admin", metavar="HOST:PORT", help="the gateway's admin listener (127.0.0.1:9090)")
    seen.add_argument("--json", action="store_true", help="print it as JSON")
    seen.set_defaults(run=show_seen)


def import_routes(options: argparse.Namespace) -> int:
    """Print the draft; what it could not say is in its comments."""
    file: Path = options.document
    if options.api is not None:
        try:
            parse_id(options.api)
        except ValueError as error:
            raise UsageError(f"--api: {error}.") from error
    document, problems = parse_document(_read(file), str(file))
    if document is None:
        more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
        raise UsageError(f"{problems[0]}{more}. Name an OpenAPI document in YAML or JSON.")
    try:
        draft = draft_apis(document.value, source=file.name, api_id=options.api)
    except ValueError as error:
        raise UsageError(f"{file}: {error}.") from error
    # A register is UTF-8, whatever the terminal is.
    sys.stdout.buffer.write(draft.text.encode())
    sys.stdout.flush()
    for note in draft.notes:
        print(note.encode("ascii", "backslashreplace").decode(), file=sys.stderr)
    return 0


def _read(file: Path) -> bytes:
    """Return a document as YAML: JSON is YAML, but for what it writes as two escapes and YAML as one."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{file} cannot be read: {reason}. Name an OpenAPI document.") from error
    if len(data) > MAX_FILE_BYTES:
        raise UsageError(f"{file} is larger than {MAX_FILE_BYTES // 2**20} MiB: split it.")
    return _PAIR.sub(_join, data) if data.lstrip().startswith(b"{") else data


def _join(pair: re.Match[bytes]) -> bytes:
    high, low = int(pair[2], 16), int(pair[3], 16)
    return pair[1] + b"\\U%08X" % (0x10000 + ((high - 0xD800) << 10) + low - 0xDC00)


def show_seen(options: argparse.Namespace) -> int:
    """Print what was asked for, the most frequent first."""
    host, port = parse_endpoint(read_settings(admin=options.admin).admin, "--admin")
    rows = parse_seen(fetch_metrics(host, port), f"{host}:{port}")
    if options.json:
        print(json.dumps([msgspec.to_builtins(row) for row in rows], indent=2))
    elif not rows:
        print("No caller asked for anything that no route declares, since this gateway started.")
    else:
        print_table(rows)
    return 0


def fetch_metrics(host: str, port: int) -> str:
    """Return a gateway's metrics.

    Raises:
        UsageError: there is no answer, or it is none of a gateway.
    """
    where = f"{host}:{port}"
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        body = answer.read(MAX_METRICS_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        mend = "name the gateway's admin listener with --admin HOST:PORT"
        raise UsageError(f"No answer from {where} ({type(error).__name__}): {mend}.") from error
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise UsageError(f"{where} answers {answer.status} for /metrics: name a gateway's admin listener with --admin.")
    if len(body) > MAX_METRICS_BYTES:
        raise UsageError(f"{where} tells more than {MAX_METRICS_BYTES // 2**20} MiB of metrics: it is no gateway.")
    return body.decode("utf-8", "replace")


def parse_seen(text: str, where: str) -> list[Seen]:
    """Return what the metrics count, the most frequent first.

    Raises:
        UsageError: these are no metrics of a gateway.
    """
    counts: dict[tuple[str, str], int] = {}
    found = False
    try:
        for family in text_string_to_metric_families(text):
            found = found or family.name == FAMILY
            for sample in family.samples:
                if sample.name == f"{FAMILY}_total":
                    key = plain(sample.labels["method"]), plain(sample.labels["shape"])
                    counts[key] = counts.get(key, 0) + int(sample.value)
    except (ValueError, LookupError, OverflowError, TypeError) as error:
        raise UsageError(f"What {where} tells at /metrics cannot be read as metrics: is it a gateway?") from error
    if not found:
        raise UsageError(f"{where} has no {FAMILY}_total among its metrics: name a gateway's admin listener.")
    rows = [Seen(method, shape, requests) for (method, shape), requests in counts.items()]
    return sorted(rows, key=lambda row: (-row.requests, row.shape, row.method))


def print_table(rows: list[Seen]) -> None:
    """Print a table, and how to read it."""
    counts = max(len("requests"), *(len(str(row.requests)) for row in rows))
    methods = max(len("method"), *(len(row.method) for row in rows))
    print(f"{'requests':>{counts}}  {'method':<{methods}}  shape")
    for row in rows:
        print(f"{row.requests:>{counts}}  {row.method:<{methods}}  {row.shape}")
    print("\n* stands for what the bundle does not declare: values are never counted. `other` is what a full metric")
    print("folds. Counted since this gateway started; declare what should pass under `apis`.")
