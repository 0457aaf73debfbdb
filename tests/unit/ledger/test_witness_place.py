# SPDX-License-Identifier: Apache-2.0
"""Second places for checkpoints: real folders and real servers, whole or not at all, and never written over."""

import asyncio
import contextlib
import errno
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import UsageError
from proxy.ledger.merkle import EMPTY_ROOT
from proxy.ledger.note import SigningKey
from proxy.ledger.tree_head import TreeHead, sign_tree_head
from proxy.ledger.witness_place import (
    MAX_ANSWER_BYTES,
    FolderWitness,
    HttpWitness,
    NotDeliveredError,
    Result,
    encode_origin,
    make_witness,
)
from tests.support.capabilities import as_any_user
from tests.support.world import serve_raw

ORIGIN = "sekisho.example/tokyo-1"
KEY = SigningKey.generate(ORIGIN)
KEYS = [KEY.verifier]
NAME = "sekisho.example%2Ftokyo-1"


def a_head(size: int = 17, root: bytes = b"r" * 32) -> TreeHead:
    return TreeHead(ORIGIN, size, root)


def a_note(head: TreeHead, key: SigningKey = KEY) -> str:
    return sign_tree_head(key, head)


def put(folder: Path, head: TreeHead, note: str | None = None, name: str = "") -> Path:
    path = folder / NAME / (name or f"{head.size:020d}.checkpoint")
    path.parent.mkdir(exist_ok=True)
    path.write_text(a_note(head) if note is None else note, encoding="utf-8")
    return path


async def fail(witness: FolderWitness | HttpWitness, head: TreeHead | None = None) -> tuple[Result, str]:
    """Deliver in vain, and return what came of it."""
    head = head or a_head()
    with pytest.raises(NotDeliveredError) as caught:
        await witness.deliver(head, a_note(head))
    return caught.value.result, str(caught.value)


# A folder.


async def test_a_checkpoint_is_kept_under_its_origin_and_size_and_nothing_else_is_left(tmp_path: Path) -> None:
    for size in (17, 1042):
        await FolderWitness(tmp_path).deliver(a_head(size), a_note(a_head(size)))
    kept = {path.name: path.read_text("utf-8") for path in (tmp_path / NAME).iterdir()}
    assert kept == {f"{size:020d}.checkpoint": a_note(a_head(size)) for size in (17, 1042)}


async def test_the_same_checkpoint_may_come_again_and_also_signed_by_another_key(tmp_path: Path) -> None:
    witness = FolderWitness(tmp_path)
    await witness.deliver(a_head(), a_note(a_head()))
    await witness.deliver(a_head(), a_note(a_head()))
    await witness.deliver(a_head(), a_note(a_head(), SigningKey.generate(ORIGIN)))
    assert witness.latest(ORIGIN, KEYS) == a_head()


OTHERS = [
    pytest.param(a_note(a_head(root=b"x" * 32)), id="another root of that size"),
    pytest.param("", id="an empty file"),
    pytest.param(a_note(a_head())[:40], id="half a note"),
    pytest.param("\xff\n\n", id="something else"),
]


@pytest.mark.parametrize("there", OTHERS)
async def test_it_is_a_conflict_and_nothing_is_written_over_where_there_is(tmp_path: Path, there: str) -> None:
    path = put(tmp_path, a_head(), there)
    assert await fail(FolderWitness(tmp_path)) == (Result.CONFLICT, "it keeps another checkpoint of size 17")
    assert path.read_text("utf-8") == there


async def test_without_hard_links_a_checkpoint_is_kept_too_and_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_paths: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr("os.link", refuse)  # as file systems of cameras and some shares do
    witness = FolderWitness(tmp_path)
    await witness.deliver(a_head(), a_note(a_head()))
    assert (await fail(witness, a_head(root=b"x" * 32)))[0] is Result.CONFLICT
    assert [path.name for path in (tmp_path / NAME).iterdir()] == [f"{17:020d}.checkpoint"]
    assert witness.latest(ORIGIN, KEYS) == a_head()


async def test_a_folder_that_went_missing_is_not_made_anew_and_found_when_it_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "share"
    folder.mkdir()
    witness = FolderWitness(folder)
    folder.rmdir()
    assert await fail(witness) == (Result.FAILED, "No such file or directory")
    assert not folder.exists()
    folder.mkdir()
    await witness.deliver(a_head(), a_note(a_head()))


IN_THE_WAY: list[tuple[str, Callable[[Path], object]]] = [
    ("a file stands in the origin's place", lambda folder: (folder / NAME).write_bytes(b"")),
    (
        "a folder stands in the checkpoint's place",
        lambda folder: (folder / NAME / f"{17:020d}.checkpoint").mkdir(parents=True),
    ),
]


@pytest.mark.parametrize("prepare", [each for _, each in IN_THE_WAY], ids=[name for name, _ in IN_THE_WAY])
async def test_it_fails_with_the_systems_word_where(tmp_path: Path, prepare: Callable[[Path], object]) -> None:
    prepare(tmp_path)
    result, why = await fail(FolderWitness(tmp_path))
    assert (result, bool(why)) == (Result.FAILED, True)


async def test_a_share_that_hangs_holds_up_one_thread_and_is_used_again_when_it_answers(tmp_path: Path) -> None:
    pipe = tmp_path / NAME / f"{17:020d}.checkpoint"
    pipe.parent.mkdir()
    os.mkfifo(pipe)  # whoever reads it waits
    witness = FolderWitness(tmp_path, timeout=0.02)
    for _ in range(3):
        assert await fail(witness) == (Result.FAILED, "it does not answer within 0.02 seconds")
    assert [thread.name for thread in threading.enumerate()].count("witness") == 1
    with await asyncio.to_thread(pipe.open, "w") as file:
        pipe.unlink()
        file.write(a_note(a_head()))
    async with asyncio.timeout(10):
        while witness.latest(ORIGIN, KEYS) is None:
            with contextlib.suppress(NotDeliveredError):
                await witness.deliver(a_head(), a_note(a_head()))


@given(st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_an_origin_is_one_file_name_of_its_own(origin: str) -> None:
    name = encode_origin(origin)
    assert name.isascii()
    assert "/" not in name
    assert not name.startswith(".")
    assert encode_origin(f"{origin}%") != name


# What was kept last.


def test_the_latest_is_the_one_of_the_most_lines(tmp_path: Path) -> None:
    for size in (2, 100, 17):
        put(tmp_path, a_head(size))
    assert FolderWitness(tmp_path).latest(ORIGIN, KEYS) == a_head(100)


def test_where_nothing_was_kept_there_is_none(tmp_path: Path) -> None:
    assert FolderWitness(tmp_path).latest(ORIGIN, KEYS) is None
    (tmp_path / NAME).mkdir()
    assert FolderWitness(tmp_path).latest(ORIGIN, KEYS) is None


FOREIGN = [
    pytest.param(lambda folder: put(folder, a_head(99), a_note(a_head(99), SigningKey.generate(ORIGIN))),
                 id="that another key of that name signed"),
    pytest.param(lambda folder: put(folder, a_head(99), a_note(a_head(99)).replace("\n99\n", "\n98\n")),
                 id="that was edited"),
    pytest.param(lambda folder: put(folder, a_head(18), name=f"{99:020d}.checkpoint"),
                 id="of another size than its name"),
    pytest.param(lambda folder: put(folder, a_head(99), ""), id="that is empty"),
    pytest.param(lambda folder: (folder / NAME / f"{99:020d}.checkpoint").mkdir(), id="that is a folder"),
    pytest.param(lambda folder: os.mkfifo(folder / NAME / f"{99:020d}.checkpoint"), id="that is a pipe"),
]  # fmt: skip


@pytest.mark.parametrize("forge", FOREIGN)
def test_a_file_is_passed_over_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, forge: Callable[[Path], object]
) -> None:
    put(tmp_path, a_head())
    forge(tmp_path)
    assert FolderWitness(tmp_path).latest(ORIGIN, KEYS) == a_head()
    (record,) = caplog.records
    assert (record.levelname, vars(record)["path"]) == ("ERROR", str(tmp_path / NAME / f"{99:020d}.checkpoint"))


def test_files_of_other_names_are_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, a_head())
    for name in (".00000000000000000099.checkpoint.1a2b", "99.checkpoint", "README"):
        put(tmp_path, a_head(99), name=name)
    assert FolderWitness(tmp_path).latest(ORIGIN, KEYS) == a_head()
    assert caplog.records == []


def test_a_checkpoint_of_another_origin_is_none_of_this_one(tmp_path: Path) -> None:
    other = SigningKey.generate("other")
    head = TreeHead("other", 99, b"r" * 32)
    put(tmp_path, head, sign_tree_head(other, head))
    assert FolderWitness(tmp_path).latest(ORIGIN, [*KEYS, other.verifier]) is None


def test_a_folder_that_cannot_be_read_is_told_with_the_mend(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"")
    with pytest.raises(UsageError, match=r"cannot be read: Not a directory; mend it, or .+ --ledger-witness\.$"):
        FolderWitness(tmp_path).latest(ORIGIN, KEYS)


# HTTP.


async def test_a_checkpoint_is_posted_as_plain_text() -> None:
    got: list[tuple[str, str, str, str | None, str]] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        got.append((request.method, request.path_qs, request.content_type, request.charset, await request.text()))
        return web.Response(status=204)

    async with serve_raw(answer) as url:
        witness = HttpWitness(f"{url}/ledgers?of=us")
        await witness.deliver(a_head(), a_note(a_head()))
        await witness.close()
    assert got == [("POST", "/ledgers?of=us", "text/plain", "utf-8", a_note(a_head()))]
    assert witness.name == f"{url}/ledgers", "a query may hold what is nobody's business"


async def deliver_to(answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> str:
    """Deliver to a server, and return what came of it."""
    async with serve_raw(answer) as url:
        witness = HttpWitness(f"{url}/x")
        try:
            await witness.deliver(a_head(), a_note(a_head()))
        except NotDeliveredError as error:
            return error.result
        finally:
            await witness.close()
    return Result.DELIVERED


ANSWERS = {
    200: Result.DELIVERED, 201: Result.DELIVERED, 202: Result.DELIVERED, 204: Result.DELIVERED, 301: Result.REFUSED,
    307: Result.REFUSED, 400: Result.REFUSED, 401: Result.REFUSED, 404: Result.REFUSED, 408: Result.FAILED,
    409: Result.REFUSED, 429: Result.FAILED, 500: Result.FAILED, 503: Result.FAILED,
}  # fmt: skip


@pytest.mark.parametrize(("status", "result"), ANSWERS.items())
async def test_an_answer_is_understood(status: int, result: Result) -> None:
    asked = []

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    assert await deliver_to(answer) == result
    assert asked == ["/x"], "a redirect leads nowhere"


async def test_an_answer_without_end_fails() -> None:
    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.Response(body=b"x" * (MAX_ANSWER_BYTES + 1))

    assert await deliver_to(answer) == Result.FAILED


async def test_nobody_is_waited_for_for_ever() -> None:
    go_on = asyncio.Event()

    async def answer(_request: web.BaseRequest) -> web.Response:
        await go_on.wait()
        return web.Response()

    async with serve_raw(answer) as url:
        witness = HttpWitness(url, 0.05)
        assert (await fail(witness))[0] is Result.FAILED
        await witness.close()
        go_on.set()


async def test_a_place_where_nobody_listens_fails() -> None:
    witness = HttpWitness("http://127.0.0.1:1/")
    assert (await fail(witness))[0] is Result.FAILED
    await witness.close()


# Settings.


def test_a_place_is_a_folder_or_a_url(tmp_path: Path) -> None:
    assert make_witness(str(tmp_path)).name == str(tmp_path)
    assert make_witness("https://witness.example/a?key=b").name == "https://witness.example/a"
    assert isinstance(make_witness("http://127.0.0.1:9000/"), HttpWitness)


BAD = [
    pytest.param("", r"needs a place", id="nothing"),
    pytest.param("/nowhere/at all", r"^The witness folder /nowhere/at all is not there: make or mount it",
                 id="a folder that is not there"),
    pytest.param("ftp://witness.example/", "neither a folder nor an http:// or https:// URL", id="another scheme"),
    pytest.param("https://", "neither a folder", id="no host"),
    pytest.param("https://witness.example:99999/", "neither a folder", id="a port that is none"),
    pytest.param("https://[::1", "neither a folder", id="half an address"),
    pytest.param("https://witness.example/a b", "neither a folder", id="a space"),
    pytest.param("https://witness.example/\r\nX: y", "neither a folder", id="a line's end"),
    pytest.param("https://me:hush@witness.example/", "at witness.example names a user", id="a user"),
    pytest.param("https://witness.example/#x", "a fragment", id="a fragment"),
]  # fmt: skip


@pytest.mark.parametrize(("place", "told"), BAD)
def test_a_place_that_cannot_be_one_is_told(place: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        make_witness(place)
    assert "hush" not in str(caught.value)


def test_the_ledgers_own_folder_is_no_second_place(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    inside = ledger / "witness"
    inside.mkdir(parents=True)
    (tmp_path / "link").symlink_to(ledger)
    for place in (ledger, inside, tmp_path / "link"):
        with pytest.raises(UsageError, match="in the ledger's own folder, and is lost with it"):
            make_witness(str(place), ledger)
    beside = tmp_path / "ledger-witness"
    beside.mkdir()
    make_witness(str(beside), ledger)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="cannot be written: let this user write there"):
        as_any_user(lambda: make_witness(str(tmp_path)))


@pytest.mark.parametrize(("place", "is_told"), [("http://witness.example/", True), ("http://localhost:1/", False)])
def test_plain_http_over_a_network_is_told(place: str, is_told: bool, caplog: pytest.LogCaptureFixture) -> None:  # noqa: FBT001
    make_witness(place)
    assert bool(caplog.records) == is_told


def test_an_empty_ledger_has_a_checkpoint_too(tmp_path: Path) -> None:
    head = TreeHead(ORIGIN, 0, EMPTY_ROOT)
    put(tmp_path, head)
    assert FolderWitness(tmp_path).latest(ORIGIN, KEYS) == head
