# SPDX-License-Identifier: Apache-2.0
import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest

import proxy.cli.routes
from proxy.cli import main
from proxy.cli.routes import parse_seen
from proxy.errors import UsageError
from proxy.telemetry import Metrics

DOCUMENT = """\
openapi: 3.0.3
info: {title: Users}
paths:
  /{country}/users/{userId}:
    get: {operationId: getUser}
    options: {}
"""


def metrics_with(*counts: tuple[str, str, int]) -> bytes:
    metrics = Metrics()
    for method, shape, number in counts:
        for _ in range(number):
            metrics.undeclared.count(method, shape)
    return generate_latest(metrics.registry)


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Return what starts an admin listener that answers one thing, and says where."""
    servers = []

    def start(body: bytes, status: int = 200) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status if self.path == "/metrics" else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        servers.append((server, thread))
        return f"127.0.0.1:{server.server_port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_draft_is_on_stdout_and_what_was_left_out_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "openapi.yaml"
    file.write_text(DOCUMENT, encoding="utf-8")
    assert main(["routes", "import", str(file), "--api", "people"]) == 0
    out, err = capsys.readouterr()
    assert "  - id: people\n" in out
    assert "FILL-IN" in out
    assert "#   OPTIONS /{countryCode}" not in out
    assert "#   OPTIONS /{country}/users/{userId}: a method" in out
    assert out.endswith("Next: sekisho check DIR\n")
    assert err == "1 route drafted, 1 left out.\n"


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_json_is_read_with_characters_beyond_the_first_plane(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], indent: int | str | None
) -> None:
    value = {"openapi": "3.1.0", "info": {"title": "\U0001f600\\ud83d\\ude00"}, "paths": {"/a": {"get": {}}}}
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(value, indent=indent), encoding="ascii")
    assert main(["routes", "import", str(file)]) == 0
    assert 'title: "\U0001f600\\\\ud83d\\\\ude00"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "flags", "words"),
    [
        pytest.param(None, [], "cannot be read", id="no file"),
        pytest.param("", [], "the file is empty", id="an empty file"),
        pytest.param("a: [", [], "no YAML", id="no YAML"),
        pytest.param('{"a": "\\ud83d"}', [], "no YAML", id="half a character"),
        pytest.param("a: &x 1\nb: *x\n", [], "more problem", id="an alias"),
        pytest.param("[" * 40, [], "nested deeper", id="too deep"),
        pytest.param("a: b", [], "no OpenAPI document", id="another document"),
        pytest.param(DOCUMENT, ["--api", "No Id"], "--api: 'No Id' is no id", id="an id that is none"),
        pytest.param(DOCUMENT, ["--api", "default"], "a word of ours", id="an id that is ours"),
    ],
)
def test_what_cannot_be_drafted_exits_2_with_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, flags: list[str], words: str
) -> None:
    file = tmp_path / "openapi.yaml"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    assert main(["routes", "import", str(file), *flags]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert words in err
    assert err.startswith("sekisho: ")
    assert err.count("\n") == 1


def test_a_document_too_large_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy.cli.routes, "MAX_FILE_BYTES", 10)
    (tmp_path / "x").write_text(DOCUMENT, encoding="utf-8")
    assert main(["routes", "import", str(tmp_path / "x")]) == 2
    assert "larger than" in capsys.readouterr().err


def test_what_was_seen_is_sorted_by_count(serve: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    where = serve(metrics_with(("GET", "/v1/*", 3), ("other", "/*", 12), ("PUT", "/v1/*/phone", 3)))
    assert main(["routes", "seen", "--admin", where]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[:4] == [
        "requests  method  shape",
        "      12  other   /*",
        "       3  GET     /v1/*",
        "       3  PUT     /v1/*/phone",
    ]
    assert "* stands for what the bundle does not declare" in out


def test_what_was_seen_as_json(serve: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["routes", "seen", "--json", "--admin", serve(metrics_with(("GET", "/v1/*", 2)))]) == 0
    assert json.loads(capsys.readouterr().out) == [{"method": "GET", "shape": "/v1/*", "requests": 2}]
    assert main(["routes", "seen", "--json", "--admin", serve(metrics_with())]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_when_nothing_was_seen_that_is_a_sentence(
    serve: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["routes", "seen", "--admin", serve(metrics_with())]) == 0
    assert capsys.readouterr().out.startswith("No caller asked for anything that no route declares")


def test_what_a_terminal_would_obey_is_not_shown(serve: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["routes", "seen", "--admin", serve(metrics_with(("GET", "/\x1b[2J", 1)))]) == 0
    assert "/\N{REPLACEMENT CHARACTER}[2J" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        pytest.param(b"", 503, "answers 503", id="a failure"),
        pytest.param(b"", 200, "has no sekisho_undeclared_requests_total", id="nothing"),
        pytest.param(b"up 1\n", 200, "has no sekisho_undeclared_requests_total", id="metrics of something else"),
        pytest.param(b"<html>", 200, "cannot be read as metrics", id="a web page"),
        pytest.param(b'sekisho_undeclared_requests_total{method="GET"} 1\n', 200, "cannot be read", id="a label short"),
        pytest.param(
            b'sekisho_undeclared_requests_total{method="GET",shape="/"} NaN\n', 200, "cannot be read", id="no number"
        ),
    ],
)
def test_an_answer_of_no_gateway_exits_2(
    serve: Callable[..., str], capsys: pytest.CaptureFixture[str], body: bytes, status: int, words: str
) -> None:
    assert main(["routes", "seen", "--admin", serve(body, status)]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


def test_more_than_a_gateway_tells_is_refused(
    serve: Callable[..., str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy.cli.routes, "MAX_METRICS_BYTES", 10)
    assert main(["routes", "seen", "--admin", serve(metrics_with())]) == 2
    assert "it is no gateway" in capsys.readouterr().err


@pytest.mark.parametrize("admin", ["nowhere", "127.0.0.1:99999"])
def test_an_address_that_is_none_exits_2(capsys: pytest.CaptureFixture[str], admin: str) -> None:
    assert main(["routes", "seen", "--admin", admin]) == 2
    assert "is no HOST:PORT" in capsys.readouterr().err


def test_where_nobody_listens(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{held.getsockname()[1]}"
        assert main(["routes", "seen", "--admin", where]) == 2
    assert f"No answer from {where} (ConnectionRefusedError)" in capsys.readouterr().err


@settings(max_examples=300)
@given(st.text('{}="\\\n #,1eNa sekisho_undeclared_requests_total', max_size=80) | st.text())
def test_whatever_is_told_there_are_rows_or_a_sentence(text: str) -> None:
    for told in (text, f"sekisho_undeclared_requests_total{{{text}}} 1\n", f"# TYPE {text}\n"):
        try:
            assert isinstance(parse_seen(told, "x"), list)
        except UsageError:
            continue


@pytest.mark.parametrize("arguments", [["routes"], ["routes", "imprt"], ["routes", "import"]])
def test_a_command_that_is_none_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
