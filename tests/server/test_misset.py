# SPDX-License-Identifier: Apache-2.0
"""Deployments that are mis-set, each started as operators start it: exit code 2, and the sentence that mends it.

What a value of a setting may be is in ``tests/unit/test_settings.py``; here is what lies outside of them: files,
folders, ports, and what others have left undone.
"""

import asyncio
import os
import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from proxy.ledger.note import SigningKey
from proxy.ledger.writer import LedgerWriter
from proxy.telemetry import Metrics
from tests.support.certificates import SERVER, Held, a_ca, a_leaf
from tests.support.ledger import KEY, write_ledger_key
from tests.support.misset import Deployment
from tests.support.mmdb import render_database
from tests.support.small_disk import mount_small_disk, on_a_small_disk

OLD_DATABASE: Final = render_database({"192.0.2.0/24": {"country": {"iso_code": "JP"}}}, kind="GeoLite2-Country")
YEARS: Final = 3 * 365 * 86400
NEW_LEDGER_KEY: Final = "Make one with `sekisho ledger keygen FILE --name NAME` and name it with --ledger-key FILE."
NEW_RING: Final = "Make one with `sekisho keygen FILE` and name it with --pseudonym-key FILE."
NEW_TLS_KEY: Final = "Name a file in PEM, not encrypted."
MOUNTED: Final = "where it is mounted, say so to what mounts it (Kubernetes: defaultMode 0440 and an fsGroup)."
A_FOLDER: Final = "it is a folder (Docker makes one in the place of a file that is to be mounted and is not there)"
INIT: Final = "`sekisho init DIR` writes a small bundle that loads"
READY: Final = '"message": "ready"'

MisSet = Callable[[Deployment], object]
Told = TypeVar("Told", str, str | re.Pattern[str])


def setting(**settings: object) -> MisSet:
    """Return what sets settings; what is called is given the deployment."""

    def do(deployment: Deployment) -> None:
        told = {name: value(deployment) if callable(value) else value for name, value in settings.items()}
        deployment.settings |= told

    return do


def https(**settings: object) -> MisSet:
    """Return what sets an upstream with TLS, and settings of it."""
    return setting(upstream={"users": "https://127.0.0.1:9000"}, **settings)


def says(mis_set: MisSet, told: Told) -> tuple[MisSet, Told]:
    """Return a case."""
    return mis_set, told


def a_certificate(**changes: Any) -> Held:
    told: dict[str, Any] = {"since": -3 * YEARS, "until": YEARS} | changes
    return a_leaf(a_ca(), usages=[SERVER], general=[x509.DNSName("localhost")], serial=None, **told)


def tls(certificate: str, key: str, mode: int = 0o600) -> MisSet:
    """Return what has the listener speak TLS by these files, the key's with this mode."""
    return setting(
        tls_certificate=lambda d: d.file("own.pem", certificate), tls_key=lambda d: d.file("own.key", key, mode)
    )


def encrypted(held: Held) -> str:
    password = BestAvailableEncryption(b"password")
    return str(held.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, password).decode())


OWN: Final = a_certificate()


def move_deeper(d: Deployment) -> None:
    shutil.move(d.folder / "policies", d.made("mounted") / "policies")
    d.settings["policies"] = d.folder / "mounted"


def hide_policies(d: Deployment) -> None:
    move_deeper(d)
    d.settings["policies"] = d.folder / "mounted" / "policies"
    (d.folder / "mounted").chmod(0)


def a_pipe(d: Deployment) -> Path:
    os.mkfifo(d.folder / "pipe")
    return d.folder / "pipe"


def empty_policies(d: Deployment) -> None:
    shutil.rmtree(d.folder / "policies")
    d.made("policies")


def swap_keys(d: Deployment) -> None:
    d.settings["ledger_key"], d.settings["pseudonym_key"] = d.settings["pseudonym_key"], d.settings["ledger_key"]


CANNOT_START: Final[dict[str, tuple[MisSet, str | re.Pattern[str]]]] = {
    # Variables.
    "a variable with a typing error": says(
        setting(listn="127.0.0.1:1"), "SEKISHO_LISTN is no setting (did you mean 'SEKISHO_LISTEN'?): mend or unset "
        "it."),
    "a variable whose template was not filled": says(
        setting(policies=""), "SEKISHO_POLICIES is empty: give it a value, or unset it."),
    "a mapping that is none": says(
        setting(upstream="users=http://127.0.0.1:9000"),
        'These settings cannot be used: SEKISHO_UPSTREAM: it is no JSON mapping of texts, such as {"users": '
        '"http://127.0.0.1:9000"}.'),
    "two values at once": says(
        setting(workers="four", drain_seconds="20s"),
        "These settings cannot be used: SEKISHO_WORKERS: it is no whole number, such as 4; SEKISHO_DRAIN_SECONDS: it "
        "is no number, such as 20 or 0.5, and has no unit."),
    # The policy folder.
    "no policy folder": says(
        setting(policies=lambda d: d.folder / "none"), f"DIR/none/bundle.yaml:1:1: DIR/none does not exist ({INIT})"),
    "an empty policy folder": says(empty_policies, f"DIR/policies/bundle.yaml:1:1: the manifest is missing: {INIT}"),
    "a policy folder that is a file": says(
        setting(policies=lambda d: d.folder / "policies" / "bundle.yaml"),
        "DIR/policies/bundle.yaml/bundle.yaml:1:1: DIR/policies/bundle.yaml is a file: name the folder it lies in "
        f"({INIT})"),
    "a policy folder that cannot be read": says(
        lambda d: (d.folder / "policies").chmod(0),
        "DIR/policies/bundle.yaml:1:1: DIR/policies cannot be read: Permission denied: let this user read it, and "
        "enter it"),
    "a policy folder below one that cannot be entered": says(
        hide_policies,
        "DIR/mounted/policies/bundle.yaml:1:1: DIR/mounted/policies cannot be read: Permission denied: let this user "
        "read it, and enter it"),
    "a policy folder that was mounted at the wrong level": says(
        move_deeper,
        "DIR/mounted/bundle.yaml:1:1: the manifest is missing here, and lies in DIR/mounted/policies: name that "
        "folder"),
    "a policy file that cannot be read": says(
        lambda d: (d.folder / "policies" / "rules.yaml").chmod(0),
        "DIR/policies/rules.yaml:1:1: the file cannot be read: Permission denied"),
    "a policy file that is missing": says(
        lambda d: (d.folder / "policies" / "cases.yaml").unlink(),
        "DIR/policies/bundle.yaml:8:3: cases.yaml is listed here and missing in the folder (did you mean "
        "'apis.yaml'?)"),
    # Keys.
    "no key of the ledger": says(
        setting(ledger_key=None),
        f"The key of the ledger is not set: nobody could tell whether records were changed. {NEW_LEDGER_KEY}"),
    "a key of the ledger that is not there": says(
        setting(ledger_key=lambda d: d.folder / "none"),
        f"The key of the ledger DIR/none cannot be read: No such file or directory. {NEW_LEDGER_KEY}"),
    "a key of the ledger that Docker could not mount": says(
        setting(ledger_key=lambda d: d.made("key")),
        f"The key of the ledger DIR/key cannot be read: {A_FOLDER}. {NEW_LEDGER_KEY}"),
    "a key of the ledger that is empty": says(
        setting(ledger_key=lambda d: d.file("key")), f"The key of the ledger DIR/key is none: it is empty. "
        f"{NEW_LEDGER_KEY}"),
    "a key of the ledger that is to be filled in": says(
        setting(ledger_key=lambda d: d.file("key", "CHANGEME\n")),
        "The key of the ledger DIR/key is none: a signing key has the form PRIVATE+KEY+NAME+ID+SECRET. "
        f"{NEW_LEDGER_KEY}"),
    "a key of the ledger that another user has": says(
        lambda d: (d.folder / "ledger.key").chmod(0),
        f"The key of the ledger DIR/ledger.key cannot be read: Permission denied. {NEW_LEDGER_KEY}"),
    "a key of the ledger that everybody may read": says(
        lambda d: (d.folder / "ledger.key").chmod(0o644),
        "The key of the ledger DIR/ledger.key is open to others (mode 644), and whoever has it can do as the gateway "
        "does: chmod 600 DIR/ledger.key, or 640 where its group is the gateway's alone; "
        f"{MOUNTED}"),
    "a key of the ledger that is a pipe": says(
        setting(ledger_key=a_pipe),
        f"The key of the ledger DIR/pipe cannot be read: it is no regular file. {NEW_LEDGER_KEY}"),
    "keys that were swapped": says(
        swap_keys,
        "The key ring DIR/ledger.key cannot be used (it looks like the key of a ledger, of --ledger-key): line 1: it "
        "begins neither with `subjects` nor with a month such as `2026-11`: write `subjects KEY` or `YYYY-MM KEY`, or "
        "# before a comment."),
    "a key ring in the place of the key of the ledger": says(
        setting(ledger_key=lambda d: d.settings["pseudonym_key"]),
        "The key of the ledger DIR/pseudonym.key is none (it looks like a key ring of pseudonyms, of "
        "--pseudonym-key): a "
        f"signing key has the form PRIVATE+KEY+NAME+ID+SECRET. {NEW_LEDGER_KEY}"),
    "no key of pseudonyms": says(
        setting(pseudonym_key=None),
        f"The key of pseudonyms is not set: people are never recorded by name. {NEW_RING}"),
    "a key of pseudonyms that is not there": says(
        setting(pseudonym_key=lambda d: d.folder / "none"),
        f"The key of pseudonyms DIR/none cannot be read: No such file or directory. {NEW_RING}"),
    "a key of pseudonyms that Docker could not mount": says(
        setting(pseudonym_key=lambda d: d.made("key")),
        f"The key of pseudonyms DIR/key cannot be read: {A_FOLDER}. {NEW_RING}"),
    "a key of pseudonyms that everybody may read": says(
        lambda d: (d.folder / "pseudonym.key").chmod(0o644),
        "The key of pseudonyms DIR/pseudonym.key is open to others (mode 644), and whoever has it can do as the "
        "gateway does: chmod 600 DIR/pseudonym.key, or 640 where its group is the gateway's alone; "
        f"{MOUNTED}"),
    "a key of assertions that is not there": says(
        setting(assertion_key=lambda d: d.folder / "none"),
        "The file of keys of assertions DIR/none cannot be read: No such file or directory. Make one with `sekisho "
        "keys new FILE`."),
    "public keys to be served, and none": says(
        setting(assertion_jwks_listen="127.0.0.1:0"),
        "SEKISHO_ASSERTION_JWKS_LISTEN serves public keys, and there are none: make one with `sekisho keys new FILE` "
        "and set SEKISHO_ASSERTION_KEY."),
    # The ledger.
    "a ledger that may not be written": says(
        lambda d: d.made("ledger", 0o500),
        "The ledger DIR/ledger cannot be written: Permission denied. Let this user write in that folder, or begin "
        "another ledger with --ledger and a key of another name."),
    "a ledger where no folder may be made": says(
        setting(ledger=lambda d: d.made("above", 0o500) / "ledger"),
        "The ledger DIR/above/ledger cannot be written: Permission denied. Let this user write in that folder, or "
        "begin another ledger with --ledger and a key of another name."),
    "a ledger that is a file": says(
        setting(ledger=lambda d: d.file("file")),
        "The ledger DIR/file cannot be written: it is a file, and a ledger is a folder. Mend that, or begin another "
        "ledger with --ledger and a key of another name."),
    "a ledger on standard output, of several workers": says(
        setting(ledger="-", workers=2),
        "Each worker's ledger is one of its own, and on one standard output they would be none: with --workers name a "
        "folder with --ledger, or run one process."),
    "a witness that is not mounted": says(
        setting(ledger_witness=lambda d: d.folder / "witness"),
        "The witness folder DIR/witness is not there: make or mount it, or name another place with --ledger-witness."),
    "a witness that may not be written": says(
        setting(ledger_witness=lambda d: d.made("witness", 0o500)),
        "The witness folder DIR/witness cannot be written: let this user write there, or name another place with "
        "--ledger-witness."),
    # Addresses.
    "an address without a host": says(setting(listen="8080"), "'8080' is no HOST:PORT: write --listen 127.0.0.1:8080."),
    "an address as other programs write it": says(
        setting(listen=":8080"), "':8080' is no HOST:PORT: write --listen 127.0.0.1:8080."),
    "an IPv6 address without brackets": says(
        setting(listen="::1:8080"), "'::1:8080' is no HOST:PORT: write --listen 127.0.0.1:8080."),
    "an address of another machine": says(
        setting(listen="192.0.2.1:8080"),
        "The address 192.0.2.1:8080 is none of this machine's (0.0.0.0 and [::] are all that it has): name another "
        "with --listen HOST:PORT."),
    "an admin's address of another machine": says(
        setting(admin="192.0.2.1:9090"),
        "The address 192.0.2.1:9090 is none of this machine's (0.0.0.0 and [::] are all that it has): name another "
        "with --admin HOST:PORT."),
    "a name that nobody knows": says(
        setting(admin="no-such-host.invalid:9090"),
        re.compile(r"The address no-such-host\.invalid:9090 has a name that is not known here \(.+\): name another "
                   r"with --admin HOST:PORT\.")),
    "a name that no host can have": says(
        setting(listen=f"{'x' * 70}:8080"),
        f"The address {'x' * 70}:8080 has a name that no host can have: name another with --listen HOST:PORT."),
    "one address for callers and operators": says(
        setting(listen="127.0.0.1:8080", admin="127.0.0.1:8080"),
        "--listen and --admin are both 127.0.0.1:8080: give each an address of its own."),
    "a name that nobody knows, for several workers": says(
        setting(listen="no-such-host.invalid:8080", workers=2),
        re.compile(r"The address no-such-host\.invalid:8080 has a name that is not known here \(.+\): name another "
                   r"with --listen HOST:PORT\.")),
    # TLS.
    "a certificate without a key": says(
        setting(tls_certificate=lambda d: d.file("own.pem", OWN.pem)),
        "A certificate and its key go together: set both --tls-certificate and --tls-key."),
    "a certificate that is not there": says(
        setting(tls_certificate=lambda d: d.folder / "none", tls_key=lambda d: d.file("own.key", OWN.key_pem)),
        "The file DIR/none (--tls-certificate) cannot be read: No such file or directory."),
    "a certificate and a key that were swapped": says(
        tls(OWN.key_pem, OWN.pem), "The file DIR/own.pem (--tls-certificate) holds no certificate: it is PEM."),
    "a key that is empty": says(
        tls(OWN.pem, ""), f"The private key (--tls-key) DIR/own.key is none: it is empty. {NEW_TLS_KEY}"),
    "a key that is none": says(
        tls(OWN.pem, OWN.pem), "The file DIR/own.key (--tls-key) holds no private key: it is PEM."),
    "a key that is not there": says(
        setting(tls_certificate=lambda d: d.file("own.pem", OWN.pem), tls_key=lambda d: d.folder / "none"),
        f"The private key (--tls-key) DIR/none cannot be read: No such file or directory. {NEW_TLS_KEY}"),
    "a key that everybody may read": says(
        tls(OWN.pem, OWN.key_pem, 0o644),
        "The private key (--tls-key) DIR/own.key is open to others (mode 644), and whoever has it can do as the "
        "gateway does: chmod 600 DIR/own.key, or 640 where its group is the gateway's alone; "
        f"{MOUNTED}"),
    "a key that a group may write": says(
        tls(OWN.pem, OWN.key_pem, 0o660),
        "The private key (--tls-key) DIR/own.key is open to others (mode 660), and whoever has it can do as the "
        "gateway does: chmod 600 DIR/own.key, or 640 where its group is the gateway's alone; "
        f"{MOUNTED}"),
    "a key of another certificate": says(
        tls(OWN.pem, a_certificate().key_pem),
        "The certificate DIR/own.pem and the key DIR/own.key cannot be used together (key values mismatch): both are "
        "PEM, our own certificate first, then those between it and its CA."),
    "a key that is encrypted": says(
        tls(OWN.pem, encrypted(OWN)),
        "The key of --tls-key is encrypted, and nobody is there to be asked for a password: decrypt it."),
    "a certificate that has ended": says(
        tls((ended := a_certificate(until=-YEARS)).pem, ended.key_pem),
        "The certificate DIR/own.pem (--tls-certificate) ended at 2024-01-16T08:00:00.000Z: renew it."),
    "callers' certificates without TLS": says(
        setting(tls_client="required"),
        "--tls-client asks callers for certificates: set --tls-certificate and --tls-key, too."),
    # APIs.
    "an upstream of an API that nobody declares": says(
        setting(upstream={"user": "http://127.0.0.1:9000"}),
        "--upstream names an API 'user' that the bundle does not declare (did you mean 'users'?)."),
    "an upstream that is no URL": says(
        setting(upstream={"users": "127.0.0.1:9000"}),
        "--upstream users: '127.0.0.1:9000' is no URL such as http://127.0.0.1:9000 or unix:/run/api.sock."),
    "an upstream with a path": says(
        setting(upstream={"users": "http://127.0.0.1:9000/api"}),
        "--upstream users: 'http://127.0.0.1:9000/api' says more than a host and a port: paths are forwarded as they "
        "come."),
    "a CA that is not there": says(
        https(upstream_ca={"users": "/none.pem"}),
        "The file /none.pem (SEKISHO_UPSTREAM_CA of 'users') cannot be read: No such file or directory."),
    "a CA that is none": says(
        https(upstream_ca=lambda d: {"users": str(d.file("ca.pem", "CHANGEME"))}),
        "The file DIR/ca.pem (SEKISHO_UPSTREAM_CA of 'users') holds no CA certificate that can be read: it is PEM."),
    "a CA of an API without TLS": says(
        setting(upstream_ca={"users": "/none.pem"}),
        "SEKISHO_UPSTREAM_CA names 'users', which is at http://127.0.0.1:9000, without TLS: write an https:// URL."),
    "the health of an API that nobody declares": says(
        setting(upstream_health={"user": "/healthz"}),
        "SEKISHO_UPSTREAM_HEALTH names an API 'user' that the bundle does not declare (did you mean 'users'?)."),
    "the health of an API at no path": says(
        setting(upstream_health={"users": "http://127.0.0.1:9000/healthz"}),
        "SEKISHO_UPSTREAM_HEALTH of 'users' is 'http://127.0.0.1:9000/healthz', which is no plain path: write one that "
        'begins with a slash and has no query, such as {"users": "/healthz"}.'),
    # Others that are asked.
    "an issuer whose keys cannot be reached": says(
        setting(jwks={"corp": "http://127.0.0.1:9/jwks.json"}),
        re.compile(r"The keys of issuer 'corp' cannot be had from http://127\.0\.0\.1:9/jwks\.json: it cannot be "
                   r"reached \(.+\)\. Start or mend that place, or name another with --jwks corp=URL\.")),
    "an issuer whose keys are at no place": says(
        setting(jwks={"corp": "corp.json"}),
        "--jwks corp: 'corp.json' is neither an https:// URL nor file:PATH inside the policy folder."),
    "an issuer that nobody declares": says(
        setting(jwks={"crop": "file:corp.json"}),
        "--jwks names an issuer 'crop' that the bundle does not declare (did you mean 'corp'?)."),
    "a GeoIP database that is not there": says(
        setting(geoip="/none.mmdb"),
        "The GeoIP database /none.mmdb cannot be opened: No such file or directory. Name a MaxMind-format database "
        "with --geoip, or leave it out to use the built-in registry data."),
    "a GeoIP database that is still packed": says(
        setting(geoip=lambda d: d.file("country.mmdb", b"\x1f\x8b" + bytes(9000))),
        "The GeoIP database DIR/country.mmdb cannot be opened: it is no MaxMind-format database, is broken, or was "
        "changed while it was read. Name a MaxMind-format database with --geoip, or leave it out to use the built-in "
        "registry data."),
    "an age of a GeoIP database that is not named": says(
        setting(geoip_max_age_days=30),
        "--geoip-max-age-days asks how old a database is, and none is named: name one with --geoip, or leave that "
        "out."),
    "a Redis whose password is not there": says(
        setting(counts="redis://127.0.0.1:9/0", counts_password_file="/none"),
        "The file /none of SEKISHO_COUNTS_PASSWORD_FILE: the secret cannot be read (No such file or directory)."),
    "a lookup that nobody declares": says(
        setting(lookup={"people": "http://127.0.0.1:9"}),
        "--lookup names a lookup 'people' that the bundle does not declare."),
}  # fmt: skip


@pytest.mark.parametrize(("mis_set", "told"), CANNOT_START.values(), ids=CANNOT_START.keys())
def test_it_does_not_start_and_says_how_to_mend_it(
    tmp_path: Path, mis_set: MisSet, told: str | re.Pattern[str]
) -> None:
    deployment = Deployment(tmp_path)
    mis_set(deployment)
    ended = deployment.start()
    sentence = ended.told.removesuffix("1 problem: nothing was loaded.\n").removesuffix("\n")
    sentence = sentence.removeprefix("sekisho: ")
    assert told.fullmatch(sentence) if isinstance(told, re.Pattern) else sentence == told
    assert ended.code == 2


STARTS: Final[dict[str, tuple[MisSet, str]]] = {
    "nothing is mis-set": says(lambda _: None, READY),
    "Kubernetes has a Service of our name": says(
        lambda d: d.environment.update(SEKISHO_SERVICE_HOST="10.0.0.1", SEKISHO_PORT="tcp://10.0.0.1:8080"), READY),
    "fewer files may be open than connections": says(
        lambda d: setattr(d, "open_files", 1000),
        "1000 files may be open, and SEKISHO_MAX_CONNECTIONS and SEKISHO_MAX_REQUESTS allow for 14352: raise "
        "LimitNOFILE or ulimit -n, or lower them"),
    "a database of addresses is too old": says(
        setting(geoip=lambda d: d.file("old.mmdb", OLD_DATABASE), geoip_max_age_days=30),
        "the country database, built 2023-11-14T22:13:20.000Z, is too old to be believed"),
    "a Redis that counts is not there yet": says(
        setting(counts="redis://127.0.0.1:9/0"), "how much callers read cannot be counted"),
    "the folder of temporary files may not be written": says(
        lambda d: d.environment.update(TMPDIR=str(d.made("tmp", 0o500))), READY),
}  # fmt: skip


@pytest.mark.parametrize(("mis_set", "told"), STARTS.values(), ids=STARTS.keys())
def test_it_starts_and_says_what_somebody_should_know(tmp_path: Path, mis_set: MisSet, told: str) -> None:
    deployment = Deployment(tmp_path)
    mis_set(deployment)
    ended = deployment.start(until=READY)
    assert told in ended.told
    assert READY in ended.told
    assert "Traceback" not in ended.told
    assert ended.code == 0


def test_a_port_that_only_root_may_bind(tmp_path: Path) -> None:
    least = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text(encoding="ascii"))
    if least <= 80:
        pytest.skip(f"here anybody may bind ports from {least} on")
    deployment = Deployment(tmp_path)
    deployment.settings["listen"] = "127.0.0.1:80"
    ended = deployment.start()
    assert ended.told == (
        "sekisho: The address 127.0.0.1:80 cannot be bound by this user, who may bind no port below 1024: name another "
        "with --listen HOST:PORT.\n"
    )
    assert ended.code == 2


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("flag", ["listen", "admin"])
def test_a_port_that_is_taken(tmp_path: Path, flag: str, workers: int) -> None:
    deployment = Deployment(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        deployment.settings |= {flag: address, "workers": workers}
        ended = deployment.start()
    assert ended.told == f"sekisho: The address {address} is taken: name another with --{flag} HOST:PORT.\n"
    assert ended.code == 2


def test_a_ledger_that_another_gateway_writes(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path)
    writer = LedgerWriter(tmp_path / "ledger", Metrics(), KEY)
    try:
        ended = deployment.start()
    finally:
        writer.close()
    assert ended.told == (
        "sekisho: Another gateway writes the ledger DIR/ledger: stop it, or begin another ledger with --ledger and a "
        "key of another name. Replicas that share both are each given a name of their own, by SEKISHO_REPLICA.\n"
    )
    assert ended.code == 2


def test_a_ledger_that_is_signed_by_another_key(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path)
    assert deployment.start(until=READY).code == 0
    other = SigningKey.generate("other.example/ledger")
    deployment.settings["ledger_key"] = write_ledger_key(tmp_path / "other.key", other)
    ended = deployment.start()
    assert ended.told.splitlines()[-1] == (
        "sekisho: The ledger DIR/ledger was not begun with this key: 00000000000000000000.jsonl:line 1: the ledger is "
        "sekisho.example/ledger's, and the key is other.example/ledger's. Name its key with --ledger-key, or begin "
        "another ledger with --ledger."
    )
    assert ended.code == 2


@on_a_small_disk
async def test_a_ledger_on_a_disk_that_is_read_only(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    deployment = Deployment(tmp_path)
    with mount_small_disk(deployment.made("mounted")) as disk:
        disk.cover()
        deployment.settings["ledger"] = disk.place / "ledger"
        ended = await asyncio.to_thread(deployment.start)
    assert ended.told == (
        "sekisho: The ledger DIR/mounted/place/ledger cannot be written: Read-only file system. Mount a file "
        "system there that can be written, or begin another ledger with --ledger and a key of another name.\n"
    )
    assert ended.code == 2


@on_a_small_disk
async def test_a_ledger_on_a_disk_that_is_full(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    deployment = Deployment(tmp_path)
    with mount_small_disk(deployment.made("mounted")) as disk:
        disk.fill()
        deployment.settings["ledger"] = disk.place
        ended = await asyncio.to_thread(deployment.start)
    assert ended.told == (
        "sekisho: The bundle cannot be kept in DIR/mounted/place/bundles (No space left on device), and what is not "
        "kept is not put in force: make room there, and let this user write there.\n"
    )
    assert ended.code == 2
