# SPDX-License-Identifier: Apache-2.0
"""Whatever lies in a policy folder: it loads, or every problem has its place, and neither takes long."""

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.bundle.check import load_bundle, load_case
from proxy.bundle.read import MAX_FILE_BYTES
from proxy.errors import BundleError
from tests.support.bundle_folder import REFERENCE, SMALL, edited, problems_after, problems_of, write_bundle

FILES: Final = {
    str(path.relative_to(REFERENCE)): path.read_text(encoding="utf-8") for path in sorted(REFERENCE.rglob("*.yaml"))
}
PLACED: Final = re.compile(r"[\w./-]+:[1-9][0-9]*:[1-9][0-9]*: .+", re.DOTALL)
FUZZED: Final = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def assert_placed(folder: Path, *, seconds: float = 10.0) -> list[str]:
    """Load a folder; whatever is wrong with it is a problem with its place, soon."""
    began = time.process_time()
    problems = problems_of(folder)
    assert time.process_time() - began < seconds
    assert not [problem for problem in problems if not PLACED.fullmatch(problem)]
    return problems


# Structure: something else at every position of the reference bundle.


def _positions(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place of a value, as what holds it and the key there."""
    keys: Any = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _positions(value[key])


def _decoded(file: str) -> Any:
    """Return a file with texts alone, as the loader reads it."""
    return yaml.load(FILES[file], Loader=yaml.BaseLoader)  # noqa: S506, TID251 - texts alone


def _shorter(value: Any) -> Any:
    """Return a value with no list longer than three: what comes later is of the same shape."""
    if isinstance(value, dict):
        return {key: _shorter(inner) for key, inner in value.items()}
    return [_shorter(inner) for inner in value[:3]] if isinstance(value, list) else value


def _dumped(value: Any) -> str:
    text: str = yaml.dump(value, default_style='"', allow_unicode=True, sort_keys=False)
    return re.sub(r"!!\w+ ", "", text)


OTHERS: Final[dict[str, Callable[[Any], Any]]] = {
    "a list": lambda value: [value],
    "a mapping": lambda value: {"x": value},
    "nothing": lambda _: "",
    "an empty list": lambda _: [],
    "an empty mapping": lambda _: {},
    "a long text": lambda _: "x" * 3000,
    "something deep": lambda _: {"a": [{"b": [{"c": ["d"]}]}]},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("file", FILES)
def test_something_else_in_any_position(tmp_path: Path, file: str, other: Callable[[Any], Any]) -> None:
    """All positions of a kind at once first, then some alone: a wrong value must not hide a traceback behind it."""
    count = sum(1 for _ in _positions(_shorter(_decoded(file))))
    for index in range(0, count, max(1, count // 12)):
        value = _shorter(_decoded(file))
        holder, key = list(_positions(value))[index]
        holder[key] = other(holder[key])
        assert_placed(write_bundle(tmp_path, {**FILES, file: _dumped(value)}))


def test_a_file_that_is_dumped_again_loads(tmp_path: Path) -> None:
    """Else the test above would break everything everywhere."""
    assert not problems_of(write_bundle(tmp_path, {file: _dumped(_decoded(file)) for file in FILES}))


# Bytes and characters.


@FUZZED
@given(data=st.data())
def test_bytes_that_change(tmp_path: Path, data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(sorted(FILES)))
    raw = bytearray(FILES[file].encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        end = at + data.draw(st.integers(0, 8))
        raw[at:end] = data.draw(
            st.binary(max_size=6) | st.sampled_from([b"\t", b"*a ", b"&a ", b"- ", b": ", b"{", b"\n"])
        )
    folder = write_bundle(tmp_path, FILES)
    (folder / file).write_bytes(raw)
    assert_placed(folder)


JSONISH: Final = st.recursive(
    st.sampled_from(["", "x", "$x", "JP", "any", "true", "1", "ly", "2027-01-01T00:00:00Z", "0.0.0.0/0", "rules"])
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "when", "any", "by", "effect", "name", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@FUZZED
@given(data=st.data())
def test_structure_that_changes(tmp_path: Path, data: st.DataObject) -> None:
    files = dict(FILES)
    for file in data.draw(st.lists(st.sampled_from(sorted(FILES)), min_size=1, max_size=2, unique=True)):
        value = _decoded(file)
        for _ in range(data.draw(st.integers(1, 3))):
            holder, key = data.draw(st.sampled_from(list(_positions(value))))
            if isinstance(holder, list) and data.draw(st.booleans()):
                holder.insert(key, data.draw(JSONISH))
            else:
                holder[key] = data.draw(JSONISH)
        files[file] = _dumped(value)
    assert_placed(write_bundle(tmp_path, files))


@FUZZED
@given(st.binary(max_size=60) | JSONISH.map(lambda value: _dumped(value).encode()))
def test_a_case_that_stands_in_no_bundle(data: bytes) -> None:
    snapshot = load_bundle(REFERENCE)
    try:
        load_case(data, "case.yaml", snapshot)
    except BundleError as error:
        assert error.problems  # noqa: PT017
        assert all(PLACED.fullmatch(problem) for problem in error.problems)  # noqa: PT017


TEXTS: Final = {
    "a bomb of aliases": "rules: &a [x]\nb: &b [*a, *a, *a, *a]\nc: [*b, *b, *b, *b]\n",
    "a merge": "rules:\n  - {<<: *x, id: a}\n",
    "a key twice": "rules: []\nrules: []\n",
    "a tab": "rules:\n\t- id: a\n",
    "ten thousand nested lists": "rules: " + "[" * 10_000 + "]" * 10_000,
    "ten thousand nested mappings": "rules: " + "{a: " * 10_000 + "}" * 10_000,
    "a tag that calls": "rules: !!python/object/apply:os.system [id]\n",
    "two documents": "rules: []\n---\nrules: []\n",
    "a list of registers": "- rules: []\n",
    "a key that is a list": "? [a]\n: b\n",
    "a NUL": "rules: []\x00\n",
    "a line end that editors do not show": "rules: []\u2028x: y\n",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("file", ["rules.yaml", "bundle.yaml", "emergency_denies/a.yaml"])
def test_a_text_that_is_refused(tmp_path: Path, file: str, text: str) -> None:
    problems = assert_placed(write_bundle(tmp_path, {**SMALL, file: text}), seconds=2.0)
    assert any(problem.startswith(f"{file}:") for problem in problems), problems


@pytest.mark.parametrize("raw", [b"rules: \xff\n", "rules: x\n".encode("utf-16"), b"\xed\xa0\x80: x\n"],
                         ids=["Latin-1", "UTF-16", "a surrogate"])  # fmt: skip
def test_a_file_that_is_not_utf_8(tmp_path: Path, raw: bytes) -> None:
    folder = write_bundle(tmp_path)
    (folder / "rules.yaml").write_bytes(raw)
    assert any(problem.startswith("rules.yaml:1:") for problem in assert_placed(folder))


@pytest.mark.parametrize("file", ["rules.yaml", "bundle.yaml", "emergency_denies/a.yaml"])
def test_a_file_of_a_hundred_megabytes_is_refused_unread(tmp_path: Path, file: str) -> None:
    folder = write_bundle(tmp_path, {**SMALL, "emergency_denies/a.yaml": ""})
    with (folder / file).open("wb") as sparse:
        sparse.truncate(100 * 2**20)
    problems = assert_placed(folder, seconds=2.0)
    assert f"{file}:1:1: the file is larger than {MAX_FILE_BYTES // 2**20} MiB" in problems


# Files that are none.


def _a_folder(path: Path) -> None:
    path.mkdir()


def _a_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def _a_link_to_nowhere(path: Path) -> None:
    path.symlink_to("nowhere.yaml")


def _a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _a_fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [_a_folder, _a_link_to_itself, _a_link_to_nowhere, _a_device])
@pytest.mark.parametrize("file", ["rules.yaml", "bundle.yaml"])
def test_what_is_no_file(tmp_path: Path, file: str, make: Callable[[Path], None]) -> None:
    folder = write_bundle(tmp_path)
    (folder / file).unlink()
    make(folder / file)
    assert assert_placed(folder, seconds=2.0)


@pytest.mark.timeout(5)
@pytest.mark.parametrize("file", ["rules.yaml", "bundle.yaml"])
def test_a_fifo_does_not_hang(tmp_path: Path, file: str) -> None:
    folder = write_bundle(tmp_path)
    (folder / file).unlink()
    _a_fifo(folder / file)
    assert assert_placed(folder, seconds=2.0)


# Much of it.


def numbered(count: int, line: str) -> str:
    return "".join(line.replace("%", str(index)) for index in range(count))


def test_ten_thousand_rules_load_soon(tmp_path: Path) -> None:
    more = numbered(10_000, "  - {id: r%, effect: deny, when: {caller.residence: CN, caller.id: x%}}\n")
    assert not assert_placed(write_bundle(tmp_path, {**SMALL, "rules.yaml": SMALL["rules.yaml"] + more}), seconds=20)


WIDE: Final = '  - {id: wide, cidr: ["2001:db8:1::/64"], country: JP}\n'
NETWORKS: Final = numbered(700, '  - {id: n%, cidr: ["2001:db8:1::%"], country: JP}\n')


@pytest.mark.parametrize(
    ("file", "old", "more"),
    [
        pytest.param("rules.yaml", "rules:\n", numbered(50_000, "  - x%\n"), id="fifty thousand rules that are texts"),
        pytest.param("parties.yaml", "networks:\n", WIDE + NETWORKS, id="seven hundred networks that are not named"),
    ],
)
def test_what_is_told_is_bounded(tmp_path: Path, file: str, old: str, more: str) -> None:
    problems = problems_after(tmp_path, (file, old, f"{old}{more}"))
    assert problems
    assert len(problems) <= 1000
    assert max(map(len, problems)) < 3000


ROUTES: Final = numbered(
    5_000, "      - {id: r%, methods: [GET], path: /x/%, action: read, subject: none, reason: r, owner: o}\n"
)


def test_five_thousand_routes_load_soon(tmp_path: Path) -> None:
    files = {**SMALL, "apis.yaml": SMALL["apis.yaml"] + ROUTES}
    assert not assert_placed(write_bundle(tmp_path, files), seconds=10)


@pytest.mark.parametrize(
    "edit",
    [
        ("parties.yaml", "roles: [subsidiary]", "roles: [branch]"),
        ("rules.yaml", "effect: deny", "effect: Deny"),
        ("rules.yaml", "caller.countries", "caller.Countries"),
        ("rules.yaml", "caller.affiliate: home-co", "caller.affiliate: Home-co"),
        ("rules.yaml", "{any: $china}", "{any: $China}"),
        ("rules.yaml", "id: staff", "id: Staff"),
        ("apis.yaml", "/v1/{country}", "/v1/{Country}"),
        ("bundle.yaml", "rules.yaml", "Rules.yaml"),
        ("rules.yaml", "{any: $china}", "{any: [$china, $chin]}"),
    ],
    ids=lambda edit: edit[2],
)
def test_what_differs_in_a_letter_does_not_load(tmp_path: Path, edit: tuple[str, str, str]) -> None:
    assert assert_placed(write_bundle(tmp_path, edited(edit)))


# A deny that can never match, and reads as if it did.

UNMATCHED: Final = {
    "a group with a character that nobody sees": '{caller.groups: {any: ["sup\\u200bport"]}}',
    "a group with a space behind": '{caller.groups: {any: ["support "]}}',
}


@pytest.mark.parametrize("when", UNMATCHED.values(), ids=UNMATCHED)
def test_a_deny_that_never_matches_is_refused_or_noted(tmp_path: Path, when: str) -> None:
    rule = f"  - {{id: shut, effect: deny, when: {when}}}\n"
    files = {**SMALL, "rules.yaml": SMALL["rules.yaml"] + rule}
    files["parties.yaml"] = files["parties.yaml"].replace("{claim: groups, absent: empty}", "groups")
    try:
        snapshot = load_bundle(write_bundle(tmp_path, files))
    except BundleError:
        return
    assert any("shut" in note for note in snapshot.notes)
