# SPDX-License-Identifier: Apache-2.0
"""Pods of the overlays for Kubernetes, rehearsed: started, probed, changed and stopped as the kubelet does it."""

import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from deploy.validation.kubernetes import FOLDER, KUBECTL, render
from proxy.cli import main
from tests.e2e.test_counts import PERMITTED
from tests.server.test_reload import URGENT
from tests.support.certificates import SERVER, Held, a_ca, a_leaf
from tests.support.cluster import NETWORK, Beside, Cluster, RunningPod
from tests.support.containers import Container, Image, Mount, missing_rights, our_image
from tests.support.keys import write_pseudonym_keys
from tests.support.ledger import KEY, read_records, write_ledger_key
from tests.support.redis_server import MISSING
from tests.support.world import POLICIES

CALLER: Final = f"{NETWORK}.9"
STAFF: Final = "sato"
"""An employee of LY in Japan, who may read Japanese users."""
USER: Final = "/v1/jp/users/"
CERTIFICATE: Final = "/etc/ssl/issuer"
ALLOW: Final = "rules/allow.yaml"
DENY: Final = "rules/deny.yaml"
CASES: Final = "tests/line-2021.yaml"
CHANGE_SECONDS: Final = 60
REDIS: Final = f"{NETWORK}.8"
PASSWORD: Final = "word"
LIMIT: Final = b"""
  - id: one-an-hour
    effect: deny
    when: {subject.country: JP, counts.country_subjects_1h: {gt: 1}}
"""
YEARS: Final = 9 * 365 * 86400.0


@pytest.fixture(autouse=True)
def _can_be_rehearsed() -> None:
    missing = missing_rights() or ("" if shutil.which("kubectl") else f"There is no kubectl here ({KUBECTL}).")
    if missing:
        pytest.fail(missing, pytrace=False)


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="sekisho-pods-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def image(folder: Path) -> Image:
    return our_image(folder)


class Outside(msgspec.Struct, frozen=True):
    """What is beside the pods: somebody who calls them, where the issuer is, too."""

    container: Container

    def call(self, url: str, person: str = "", trust: str = "issuer.pem") -> tuple[int, str]:
        """Send one request; return its status, 0 where nobody answers, and what was answered.

        Args:
            url: what is asked for.
            person: whose token goes with it.
            trust: the file of the issuer's folder with those who may have signed certificates.
        """
        token = ("--as", person, "--issuer", "https://issuer:8443") if person else ()
        by = ("env", f"SSL_CERT_FILE=/var/lib/sekisho/certificate/{trust}")
        run = self.container.run(*by, "sekisho", "sample", "call", "--seconds", "10", *token, url)
        status, _, body = run.stdout.partition("\n")
        return (int(status[:3]), body) if status[:3].isdigit() else (0, run.stdout + run.stderr)


def _prepare(folder: Path) -> Beside:
    """Make the keys, the folders of the issuer, and what a deployment says of it."""
    for name in ("keys", "certificate"):
        (folder / name).mkdir()
        shutil.chown(folder / name, 10001, 10001)
    secret = {
        "pseudonym.key": write_pseudonym_keys(folder / "pseudonym.key").read_bytes(),
        "ledger.key": write_ledger_key(folder / "ledger.key").read_bytes(),
    }
    jwks = {name: f"https://issuer:8443/{name}/jwks.json" for name in ("corp", "naver-sso")}
    return Beside(
        files={"Secret/sekisho-keys": secret},
        variables={"SEKISHO_JWKS": json.dumps(jwks), "SSL_CERT_FILE": f"{CERTIFICATE}/issuer.pem"},
        mounts=[Mount(folder / "certificate", CERTIFICATE, read_only=True)],
        hosts=f"{CALLER} issuer",
    )


def _start_outside(cluster: Cluster, folder: Path, image: Image) -> Outside:
    container = Container(
        image,
        folder / "caller",
        network=cluster.join("caller", CALLER),
        hosts=cluster.hosts(),
        mounts=[Mount(folder / name, f"/var/lib/sekisho/{name}", read_only=False) for name in ("keys", "certificate")],
        user="10001:10001",
        work="/",
        env={"SSL_CERT_FILE": "/var/lib/sekisho/certificate/issuer.pem"},
        read_only=False,
        scratch=(),
    )
    container.start(
        ["sample", "issuer", "--listen", "0.0.0.0:8443", "--name", "issuer", "--keys", "/var/lib/sekisho/keys",
         "--certificate", "/var/lib/sekisho/certificate/issuer.pem"]
    )  # fmt: skip
    cluster.others.append(container)
    outside = Outside(container)
    _wait(lambda: outside.call("https://issuer:8443/corp/jwks.json")[0] == 200)
    return outside


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + CHANGE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _shut_out(cluster: Cluster, running: RunningPod) -> dict[str, bytes]:
    """Return what does not let the caller in, without the tests that would object."""
    files = _read_untested(cluster, running)
    changed = files[ALLOW].replace(b"caller.kind: employee", b"caller.kind: service")
    assert changed != files[ALLOW]
    return {**files, ALLOW: changed}


def _read_untested(cluster: Cluster, running: RunningPod) -> dict[str, bytes]:
    """Return the policy folder without its tests."""
    files = cluster.read_volume(running.pod.volume("sekisho-policies"))
    manifest = files["bundle.yaml"].replace(f"  {CASES}: [tests]\n".encode(), b"")
    return {**{name: data for name, data in files.items() if name != CASES}, "bundle.yaml": manifest}


@pytest.mark.timeout(400)
def test_a_pod_with_a_sidecar_serves_follows_its_config_map_and_ends_in_order(folder: Path, image: Image) -> None:
    beside = _prepare(folder)
    with Cluster(render(FOLDER / "overlays" / "sidecar"), folder / "node", {"sekisho": image}, beside) as cluster:
        outside = _start_outside(cluster, folder, image)
        running = cluster.start("users-api")
        url = f"http://{running.address}:8080{USER}42"
        gateway, api = running.containers["sekisho"], running.containers["users-api"]

        # What callers get, and what they do not get.
        assert outside.call(url, STAFF)[0] == 200
        assert outside.call(url)[0] == 401
        assert outside.call(f"http://{running.address}:9000{USER}42")[0] == 0, "the API is on loopback"

        # What the containers may do.
        for name, container in running.containers.items():
            assert container.run("touch", "/x").returncode != 0, name
            assert container.run("id", "-u").stdout.strip() == {"sekisho": "10001", "users-api": "10002"}[name]
        assert gateway.run("touch", "/etc/sekisho/policies/x").returncode != 0
        assert gateway.run("cat", "/run/secrets/sekisho/ledger.key").returncode == 0
        assert api.run("cat", "/run/secrets/sekisho/ledger.key").returncode != 0

        # The kubelet brings other policies: they are in force, and nothing is restarted.
        volume = running.mounted["sekisho-policies"]
        before = cluster.read_volume(running.pod.volume("sekisho-policies"))
        volume.write(_shut_out(cluster, running))
        _wait(lambda: outside.call(url, STAFF)[0] == 403)
        volume.write(before)
        _wait(lambda: outside.call(url, STAFF)[0] == 200)
        volume.write({**before, "emergency_denies/emergency.yaml": URGENT.encode()})
        _wait(lambda: outside.call(url, STAFF)[0] == 403)
        volume.write(before)
        _wait(lambda: outside.call(url, STAFF)[0] == 200)
        assert gateway.code is None

        _check_the_end(cluster, running, outside)


def _check_the_end(cluster: Cluster, running: RunningPod, outside: Outside) -> None:
    """Stop the pod: the API goes first, the gateway tells the kubelet so, ends well, and what it recorded verifies."""
    ended = cluster.stop(running)
    assert next(ended)[0] == "users-api"
    api, gateway = running.pod.find("users-api"), running.pod.find("sekisho")
    cluster.wait_for(running, api, "readinessProbe", expected=False)
    cluster.wait_for(running, gateway, "livenessProbe")
    assert outside.call(f"http://{running.address}:8080{USER}42", STAFF)[0] == 502
    assert next(ended) == ("sekisho", 0), running.containers["sekisho"].output
    (ledger,) = (running.volumes["sekisho-ledger"] / "ledger").iterdir()
    assert re.fullmatch(r"replica-users-api-[0-9a-z-]+", ledger.name)
    assert [record["line"] for record in read_records(ledger)][-2:] == ["stop", "checkpoint"]
    key = running.folder / "ledger.pub"
    key.write_text(f"{KEY.verifier}\n", encoding="ascii")
    assert main(["ledger", "verify", str(ledger.parent), "--key", str(key)]) == 0


@pytest.mark.timeout(400)
def test_a_gateway_with_policies_from_an_image_serves_and_takes_emergency_denies(folder: Path, image: Image) -> None:
    beside = _prepare(folder)
    with_policies = msgspec.structs.replace(image, files={**image.files, "/policies": POLICIES})
    images = {"sekisho": image, "sekisho-policies": with_policies}
    with Cluster(render(FOLDER / "overlays" / "gateway-policies-image"), folder / "node", images, beside) as cluster:
        outside = _start_outside(cluster, folder, image)
        cluster.start("users-api")
        running = cluster.start("sekisho")
        url = f"http://{running.address}:8080{USER}42"
        assert outside.call(url, STAFF)[0] == 200
        assert running.containers["sekisho"].run("touch", "/etc/sekisho/policies/x").returncode != 0
        denies = running.mounted["sekisho-emergency-denies"]
        denies.write({"emergency.yaml": URGENT.encode()})
        _wait(lambda: outside.call(url, STAFF)[0] == 403)
        denies.write({})
        _wait(lambda: outside.call(url, STAFF)[0] == 200)
        assert [code for _, code in cluster.stop(running)] == [0], running.containers["sekisho"].output


@pytest.mark.timeout(400)
def test_a_gateway_with_tls_takes_a_renewed_certificate_and_counts_in_a_redis(folder: Path, image: Image) -> None:
    assert shutil.which("redis-server"), MISSING
    authority = a_ca()
    beside = _prepare(folder)
    beside = msgspec.structs.replace(
        beside,
        files={
            **beside.files,
            "Secret/sekisho-tls": _make_tls(authority, "sekisho"),
            "Secret/sekisho-counts": {"password": PASSWORD.encode(), "ca.crt": authority.pem.encode()},
        },
        hosts=f"{beside.hosts}\n{REDIS} redis.redis.svc",
    )
    with Cluster(
        render(FOLDER / "overlays" / "gateway-tls-redis"), folder / "node", {"sekisho": image}, beside
    ) as cluster:
        outside = _start_outside(cluster, folder, image)
        cluster.start("users-api")
        running = cluster.start("sekisho")
        gateway = running.pod.find("sekisho")
        url = f"https://sekisho:8080{USER}"

        # Callers speak TLS, and nothing else; probes go on.
        trust = _trust(folder, "before.pem", authority)
        assert [outside.call(f"{url}{user}", STAFF, trust)[0] for user in (42, 6)] == [200, 200]
        assert outside.call(f"{url}42", STAFF)[0] == 0, "nobody trusts it without its CA"
        assert outside.call(f"http://sekisho:8080{USER}42", STAFF, trust)[0] == 0
        assert cluster.probe(running, gateway, "readinessProbe")

        # It is renewed, by another authority: nothing is restarted.
        renewed = a_ca("Another CA")
        running.mounted["sekisho-tls"].write(_make_tls(renewed, "sekisho"))
        after = _trust(folder, "after.pem", renewed)
        _wait(lambda: outside.call(f"{url}42", STAFF, after)[0] == 200)
        assert outside.call(f"{url}42", STAFF, trust)[0] == 0

        # A limit is counted where the settings say; until that is there nobody passes it, and the gateway stays ready.
        files = _read_untested(cluster, running)
        running.mounted["sekisho-policies"].write({**files, DENY: files[DENY] + LIMIT})
        _wait(lambda: "counts-unavailable" in outside.call(f"{url}42", STAFF, after)[1])
        assert cluster.probe(running, gateway, "readinessProbe")
        _start_redis(cluster, folder, authority)
        _wait(lambda: outside.call(f"{url}42", STAFF, after)[0] == 200)
        _wait(lambda: outside.call(f"{url}6", STAFF, after)[0] == 403)
        assert [code for _, code in cluster.stop(running)] == [0], running.containers["sekisho"].output


def _make_tls(authority: Held, name: str) -> dict[str, bytes]:
    """Return what a Secret of kubernetes.io/tls has in it."""
    made = a_leaf(authority, name, usages=(SERVER,), since=-YEARS, until=YEARS)
    return {"tls.crt": made.pem.encode(), "tls.key": made.key_pem.encode()}


def _trust(folder: Path, name: str, authority: Held) -> str:
    """Have the caller trust an authority beside the issuer; return the file that says so."""
    issuer = (folder / "certificate" / "issuer.pem").read_text(encoding="ascii")
    (folder / "certificate" / name).write_text(issuer + authority.pem, encoding="ascii")
    return name


def _start_redis(cluster: Cluster, folder: Path, authority: Held) -> None:
    """Start the Redis of the settings, with a user that may do what docs/settings.md says."""
    place = folder / "redis-files"
    place.mkdir()
    for name, data in {**_make_tls(authority, "redis.redis.svc"), "ca.crt": authority.pem.encode()}.items():
        (place / name).write_bytes(data)
    container = Container(
        Image((shutil.which("redis-server") or MISSING,)),
        folder / "redis",
        network=cluster.join("redis", REDIS),
        hosts=cluster.hosts(),
        mounts=[Mount(place, "/tls", read_only=True)],
        user="10003:10003",
        work="/",
        env={},
        read_only=True,
        scratch=(),
    )
    container.start(
        ["--port", "0", "--tls-port", "6379", "--bind", REDIS, "--protected-mode", "no", "--save", "",
         "--tls-cert-file", "/tls/tls.crt", "--tls-key-file", "/tls/tls.key", "--tls-ca-cert-file", "/tls/ca.crt",
         "--tls-auth-clients", "no", "--user", "sekisho", "on", f">{PASSWORD}", "~sekisho:*", *PERMITTED]
    )  # fmt: skip
    cluster.others.append(container)
