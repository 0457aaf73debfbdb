# SPDX-License-Identifier: Apache-2.0
"""Settings: flags before the environment before defaults; what cannot be used is named, never a traceback."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from proxy.errors import UsageError
from proxy.settings import Settings, is_service_link, parse_endpoint, read_settings

SECONDS = [name for name in Settings.model_fields if name.endswith("_seconds")]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"SEKISHO_{name.upper()}", raising=False)


# Where a value comes from.


def test_defaults_are_loopback_enforcing_and_tell_no_rule() -> None:
    settings = read_settings()
    assert (settings.listen, settings.admin, settings.tell) == ("127.0.0.1:8080", "127.0.0.1:9090", "reason")
    assert (settings.pseudonym_key, settings.geoip, settings.upstream, settings.jwks) == (None, None, {}, {})


ENVIRONMENT = [
    pytest.param("listen", "[::1]:1", "[::1]:1", id="a text"),
    pytest.param("policies", "/etc/sekisho", Path("/etc/sekisho"), id="a path"),
    pytest.param("drain_seconds", "0.5", 0.5, id="a number"),
    pytest.param("log_level", "debug", "debug", id="a choice"),
    pytest.param("upstream", '{"users": "http://u:1"}', {"users": "http://u:1"}, id="pairs, as JSON"),
    pytest.param("max_request_body_bytes", "0", 0, id="a zero that is allowed"),
    pytest.param("ledger_witness", "/mnt/witness", ("/mnt/witness",), id="one place"),
    pytest.param("ledger_witness", '["/mnt/w", "https://w/"]', ("/mnt/w", "https://w/"), id="places, as JSON"),
]


@pytest.mark.parametrize(("name", "text", "value"), ENVIRONMENT)
def test_the_environment_sets(monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: object) -> None:
    monkeypatch.setenv(f"SEKISHO_{name.upper()}", text)
    assert getattr(read_settings(), name) == value


def test_a_flag_comes_before_the_environment_and_one_that_is_not_given_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SEKISHO_LISTEN", "127.0.0.1:1")
    assert read_settings(listen="127.0.0.1:2").listen == "127.0.0.1:2"
    assert read_settings(listen=None).listen == "127.0.0.1:1"


def test_pairs_of_a_flag_take_the_place_of_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEKISHO_UPSTREAM", '{"users": "http://old:1", "orders": "http://old:2"}')
    assert read_settings(upstream={"users": "http://new:1"}).upstream == {"users": "http://new:1"}


def test_a_variable_without_our_prefix_sets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN", "127.0.0.1:1")
    assert read_settings().listen == "127.0.0.1:8080"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        read_settings().listen = "127.0.0.1:1"  # type: ignore[misc]


# What cannot be used.

BAD = [
    pytest.param("tell", "all", id="a choice that is none"),
    pytest.param("log_level", "trace", id="a level that is none"),
    pytest.param("drain_seconds", "-1", id="a negative time"),
    pytest.param("drain_seconds", "soon", id="a time that is a word"),
    pytest.param("upstream_connect_seconds", "0", id="a time of zero where there must be some"),
    pytest.param("upstream_idle_seconds", "nan", id="a time that is no number"),
    pytest.param("max_request_body_bytes", "1.5", id="half a byte"),
    pytest.param("max_request_body_bytes", "", id="an empty number"),
    pytest.param("upstream", '{"users": 1}', id="a URL that is a number"),
    pytest.param("upstream", "[]", id="a list in place of pairs"),
    pytest.param("upstream", "users=http://u:1", id="pairs of the environment that are no JSON"),
    pytest.param("jwks", "", id="pairs of the environment that are empty"),
    pytest.param("jwks", '{"corp": ', id="pairs of the environment that break off"),
    pytest.param("ledger_witness", "[1]", id="a list of numbers in place of places"),
    pytest.param("ledger_witness", '["/mnt', id="places that break off"),
]


@pytest.mark.parametrize(("name", "text"), BAD)
def test_a_bad_value_of_the_environment_is_a_usage_error_that_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setenv(f"SEKISHO_{name.upper()}", text)
    with pytest.raises(UsageError, match=rf"(?i)\b(SEKISHO_)?{name}\b"):
        read_settings()


@pytest.mark.parametrize("name", SECONDS)
def test_a_time_without_end_is_refused_for(name: str) -> None:
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')}: it is "):
        read_settings(**{name: "inf"})


SENTENCES = {
    "a word for a number": ("workers", "four", "SEKISHO_WORKERS: it is no whole number, such as 4."),
    "too few": ("workers", "0", "SEKISHO_WORKERS: it is 1 or more."),
    "too many": ("workers", "999", "SEKISHO_WORKERS: it is 256 or less."),
    "a unit": ("drain_seconds", "20s", "SEKISHO_DRAIN_SECONDS: it is no number, such as 20 or 0.5, and has no unit."),
    "nothing that counts": ("upstream_idle_seconds", "0", "SEKISHO_UPSTREAM_IDLE_SECONDS: it is more than 0."),
    "a level": ("log_level", "trace", "SEKISHO_LOG_LEVEL: it is one of 'debug', 'info', 'warning' or 'error'."),
    "no JSON": (
        "upstream", "users=http://u:1",
        'SEKISHO_UPSTREAM: it is no JSON mapping of texts, such as {"users": "http://127.0.0.1:9000"}.'),
    "a list": (
        "upstream", "[]",
        'SEKISHO_UPSTREAM: it is no JSON mapping of texts, such as {"users": "http://127.0.0.1:9000"}.'),
    "a number in JSON": (
        "upstream", '{"users": 9000}',
        "SEKISHO_UPSTREAM of 'users': it is a text, in quotes where it stands in JSON."),
    "a place with a password": (
        "counts", "redis://:s3cret@h:1",
        ("SEKISHO_COUNTS: it is neither memory nor redis://HOST:6379/0, rediss://HOST:6379/0 or unix:///PATH; a user "
        "may stand before the host, and its password stands in a file, counts_password_file.")),
}  # fmt: skip


@pytest.mark.parametrize(("name", "text", "sentence"), SENTENCES.values(), ids=SENTENCES.keys())
def test_a_value_of_the_environment_is_refused_in_a_sentence_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, sentence: str
) -> None:
    monkeypatch.setenv(f"SEKISHO_{name.upper()}", text)
    with pytest.raises(UsageError) as raised:
        read_settings()
    assert str(raised.value) == f"These settings cannot be used: {sentence}"


@pytest.mark.parametrize("name", ["POLICIES", "LEDGER", "LISTEN", "WORKERS", "UPSTREAM"])
def test_an_empty_variable_is_no_value(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"SEKISHO_{name}", "")
    with pytest.raises(UsageError, match=f"^SEKISHO_{name} is empty: give it a value, or unset it.$"):
        read_settings()


LINKS = {
    "SEKISHO_SERVICE_HOST": "10.0.0.1",
    "SEKISHO_SERVICE_PORT": "8080",
    "SEKISHO_SERVICE_PORT_HTTP_METRICS": "9090",
    "SEKISHO_PORT": "tcp://10.0.0.1:8080",
    "SEKISHO_PORT_8080_TCP": "tcp://[fd00::1]:8080",
    "SEKISHO_PORT_8080_TCP_PROTO": "tcp",
    "SEKISHO_PORT_8080_TCP_PORT": "8080",
    "SEKISHO_PORT_8080_TCP_ADDR": "10.0.0.1",
    "SEKISHO_ADMIN_SERVICE_HOST": "10.0.0.2",
    "SEKISHO_ADMIN_PORT": "udp://10.0.0.2:9090",
}
"""What Kubernetes writes into a pod for Services ``sekisho`` and ``sekisho-admin``."""


def test_what_kubernetes_writes_for_a_service_of_our_name_keeps_nothing_from_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in LINKS.items():
        monkeypatch.setenv(name, value)
    assert read_settings().listen == "127.0.0.1:8080"


@pytest.mark.parametrize(
    ("name", "value"), [("SEKISHO_PORT", "8080"), ("SEKISHO_LISTEN_PORT", "tcp://"), ("SEKISHO_SERVICE", "10.0.0.1")]
)
def test_what_somebody_may_have_meant_as_a_setting_does(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=f"^{name} is no setting"):
        read_settings()


def test_no_setting_is_taken_for_what_kubernetes_writes() -> None:
    for name in Settings.model_fields:
        assert not is_service_link(f"SEKISHO_{name.upper()}", "tcp://10.0.0.1:80")


def test_every_bad_setting_is_named_at_once() -> None:
    with pytest.raises(UsageError, match=r"--tell: .+; --drain-seconds: .+\.$"):
        read_settings(tell="all", drain_seconds=-1)


def test_a_flag_that_is_no_setting_is_named() -> None:
    with pytest.raises(UsageError, match="nonsense"):
        read_settings(nonsense=1)


def test_a_variable_of_ours_that_is_no_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEKISHO_LISTN", "127.0.0.1:1")
    with pytest.raises(UsageError, match=r"(?i)listn"):
        read_settings()


def test_a_refused_value_is_not_repeated_for_it_may_be_a_secret_in_the_wrong_place() -> None:
    with pytest.raises(UsageError) as caught:
        read_settings(tell="s3cret", upstream={"users": 5})
    assert "s3cret" not in str(caught.value)


# Endpoints.

ENDPOINTS = [
    pytest.param("127.0.0.1:8080", ("127.0.0.1", 8080), id="an IPv4 address"),
    pytest.param("0.0.0.0:0", ("0.0.0.0", 0), id="all addresses and a free port"),  # noqa: S104 - a text
    pytest.param("[::1]:8080", ("::1", 8080), id="an IPv6 address"),
    pytest.param("[::]:65535", ("::", 65535), id="all IPv6 addresses and the last port"),
    pytest.param("[fe80::1%eth0]:80", ("fe80::1%eth0", 80), id="an IPv6 address with its zone"),
    pytest.param("gateway.example:443", ("gateway.example", 443), id="a name"),
]
NO_ENDPOINTS = [
    pytest.param("", id="nothing"),
    pytest.param("127.0.0.1", id="no port"),
    pytest.param("8080", id="no host"),
    pytest.param(":8080", id="an empty host"),
    pytest.param("127.0.0.1:", id="an empty port"),
    pytest.param("127.0.0.1:65536", id="a port too high"),
    pytest.param("127.0.0.1:-1", id="a negative port"),
    pytest.param("127.0.0.1:+1", id="a port with a sign"),
    pytest.param("127.0.0.1: 1", id="a port with a space"),
    pytest.param("127.0.0.1:1_0", id="a port with an underscore"),
    pytest.param("127.0.0.1:http", id="a port by name"),
    pytest.param("127.0.0.1:²", id="a port in superscript"),
    pytest.param("127.0.0.1:٨٠", id="a port in Arabic digits"),
    pytest.param("127.0.0.1:" + "9" * 5000, id="a port of thousands of digits"),
    pytest.param("::1:8080", id="an IPv6 address without brackets"),
    pytest.param("[::1]", id="brackets and no port"),
    pytest.param("[::1:8080", id="a bracket that does not close"),
    pytest.param("::1]:8080", id="a bracket that does not open"),
    pytest.param("[[::1]]:8080", id="brackets twice"),
    pytest.param("[]:8080", id="empty brackets"),
    pytest.param("[127.0.0.1]:8080", id="brackets around an IPv4 address"),
    pytest.param("http://127.0.0.1:8080", id="a URL"),
    pytest.param("127.0.0.1:8080/", id="a path behind it"),
    pytest.param("local host:8080", id="a space in the name"),
]


@pytest.mark.parametrize(("text", "expected"), ENDPOINTS)
def test_an_endpoint_is_read(text: str, expected: tuple[str, int]) -> None:
    assert parse_endpoint(text, "--listen") == expected


@pytest.mark.parametrize("text", NO_ENDPOINTS)
def test_what_is_no_endpoint_is_refused_with_the_flag_that_said_it(text: str) -> None:
    with pytest.raises(UsageError, match="is no HOST:PORT: write --admin "):
        parse_endpoint(text, "--admin")


@given(st.text(max_size=30))
def test_any_text_is_an_endpoint_or_a_usage_error(text: str) -> None:
    try:
        host, port = parse_endpoint(text, "--listen")
    except UsageError:
        return
    assert host
    assert port in range(65536)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_every_address_and_port_is_read_as_it_is_written(address: object, port: int) -> None:
    host = str(address)
    assert parse_endpoint(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", "--listen") == (host, port)
