# SPDX-License-Identifier: Apache-2.0
import asyncio
import io
import json
from pathlib import Path

import pytest

from proxy.cli import main
from proxy.ledger.archive import Archive
from proxy.ledger.entry import encode_body
from proxy.lifecycle.kept import keep_bundle
from proxy.pipeline.steps import Refuse
from tests.support.bundle_folder import REFERENCE, SMALL, edited, write_bundle
from tests.support.passages import REQUEST_ID, a_head, a_passage, a_token, reference_bundle
from tests.support.record_bundle import FILES, KIM, LIN, SATO
from tests.support.world import ENGINEER


def explain(folder: Path, sentence: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["explain", str(folder), sentence]) == 0
    return capsys.readouterr().out


def test_every_rule_is_shown_with_why(capsys: pytest.CaptureFixture[str]) -> None:
    out = explain(REFERENCE, "a Shanghai engineer", capsys)
    assert out.startswith("a Shanghai engineer cannot read a Japanese user: effect deny, rule jp-no-china")
    assert "deny jp-no-china applies: No China-based affiliate" in out
    assert "yes     subject.country: JP  (is JP)" in out
    assert "CN by employer: shanghai-digital" in out
    assert "allow ly-staff-read-japan does not apply" in out
    for rule in ("jp-not-from-china", "jp-export-stays-home", "status-is-public", "line-plus-runs-the-region"):
        assert rule in out


def test_a_rule_that_applies_by_unknown_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    out = explain(REFERENCE, "an address that nobody can place", capsys)
    assert "deny jp-not-from-china applies (by unknown)" in out
    assert "unknown origin.country: {any: $china}  (is unknown)" in out


def test_a_request_that_is_no_route_has_no_rules_to_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(REFERENCE), "a route that nobody declared"]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "sekisho: GET /v1/jp/friends/42 asks no rule: route-undeclared.\n")


def test_a_sentence_that_is_none_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(REFERENCE), "LINE Taiwan reads a Taiwanes usr"]) == 2
    assert "did you mean 'LINE Taiwan reads a Taiwanese user'" in capsys.readouterr().err


def test_markup_in_a_sentence_is_shown_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sentence = "[bold]our[/bold] employee \u2014 \u65e5\u672c"
    folder = write_bundle(tmp_path, edited(("cases.yaml", "our employee reads", f"'{sentence}'")))
    assert explain(folder, sentence, capsys).startswith(sentence)


def test_a_whole_sentence_beats_one_that_only_begins_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    longer = SMALL["cases.yaml"].replace("reads\n", "reads at night\n")
    shorter = SMALL["cases.yaml"].partition("\n")[2]
    folder = write_bundle(tmp_path, {**SMALL, "cases.yaml": longer + shorter})
    assert explain(folder, "our employee reads", capsys).startswith("our employee reads:")


# Where facts of people and programs are from.

REGISTERS = edited(
    ("bundle.yaml", "cases.yaml: [tests]", "cases.yaml: [tests]\n  who.yaml: [people, clients]"),
    ("parties.yaml", "    attributes:\n      affiliate: affiliate\n      kind: kind\n",
     "    people: required\n    clients: required\n    attributes:\n      client: client_id\n"),
    files=SMALL,
) | {"who.yaml": """\
people:
  - {issuer: corp, subject: sato, affiliate: home-co, kind: employee, from: 2026-01-01T00:00:00+09:00}
clients:
  - {id: console, issuer: corp, client: lc-prod, affiliate: home-co}
"""}  # fmt: skip
CONSOLE = ("--caller", "client=lc-prod")
SOURCES = {
    "a row that holds": (["id=sato"], ["--at", "2026-06-01T00:00:00Z", *CONSOLE], "employee  (people, who.yaml:2)"),
    "a row with dates, at no time": (["id=sato"], [*CONSOLE], "its rows have dates, and no time is given"),
    "a row that is over or to come": (["id=sato"], ["--at", "2025-06-01T00:00:00Z", *CONSOLE], "none of them holds at"),
    "no row where one is required": (["id=tan"], [*CONSOLE], "unknown  (people is required of issuer corp, and has no"),
    "no program where one is required": (
        ["id=sato"], ["--at", "2026-06-01T00:00:00Z"], "clients is required of issuer corp, and does not have the",
    ),
    "a program of the register": (["id=lc-prod"], [*CONSOLE], "service  (clients, console (who.yaml:4))"),
}  # fmt: skip


@pytest.mark.parametrize(("caller", "more", "said"), SOURCES.values(), ids=SOURCES)
def test_a_fact_of_the_registers_names_its_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caller: list[str], more: list[str], said: str
) -> None:
    folder = write_bundle(tmp_path, REGISTERS)
    flags = ["--caller", "issuer=corp", *(word for each in caller for word in ("--caller", each)), *more]
    assert main(["explain", str(folder), "--json", "--request", "GET /v1/jp/users/42", *flags]) == 0
    facts = {each["name"]: each for each in json.loads(capsys.readouterr().out)["facts"]}
    told = facts["caller.kind"] if "caller.kind" in facts else facts["caller.affiliate"]
    assert said in f"{told['value']}  ({told['source']})".replace(f"{folder}/", ""), facts


# By flags, by a case in a file, by a line of the ledger.

FLAGS = ["--request", "GET /v1/jp/users/42", "--caller", "affiliate=ly", "--caller", "kind=employee",
         "--caller", "residence=JP", "--origin", "country=JP"]  # fmt: skip
CASE = """\
name: mine
given: {caller: {affiliate: shanghai-digital, kind: employee}, origin: {country: JP}, request: GET /v1/jp/users/42}
expect: {effect: deny}
"""


def a_line(**changes: str) -> str:
    step = a_passage().begin(a_head(token=a_token(ENGINEER)))
    assert isinstance(step, Refuse)
    return json.dumps({**json.loads(encode_body(step.lines[0])), **changes})


def test_flags_describe_a_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(REFERENCE), *FLAGS]) == 0
    out = capsys.readouterr().out
    assert out.startswith("the request GET /v1/jp/users/42: effect allow, rule ly-staff-read-japan")


def test_what_flags_do_not_say_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(REFERENCE), "--request", "GET /v1/jp/users/42"]) == 0
    out = capsys.readouterr().out
    assert "effect deny" in out
    assert "not known, and it mattered: " in out
    assert "caller.countries" in out.partition("it mattered: ")[2].splitlines()[0]


ASKED = {
    "a case": ("--case", CASE, "mine: effect deny"),
    "a line": ("--line", a_line(), "request 01MCC5RM000000000000000001: effect deny"),
}


@pytest.mark.parametrize(("flag", "text", "title"), ASKED.values(), ids=ASKED.keys())
def test_a_request_is_read_from_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str, text: str, title: str
) -> None:
    (tmp_path / "asked").write_text(text, encoding="utf-8")
    assert main(["explain", str(REFERENCE), flag, str(tmp_path / "asked")]) == 0
    assert capsys.readouterr().out.startswith(f"{title}, rule jp-no-china")


def test_a_request_is_read_from_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for flag, text, title in ASKED.values():
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert main(["explain", str(REFERENCE), flag, "-"]) == 0
        assert capsys.readouterr().out.startswith(f"{title}, rule jp-no-china")


def test_json_is_one_object_with_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(REFERENCE), *FLAGS, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert set(said) >= {"title", "verdict", "decision", "facts", "rules", "grants", "places", "remarks"}
    assert len(said["rules"]) == len(reference_bundle().policy.rules)
    assert said["decision"]["rule"]["id"] == "ly-staff-read-japan"
    assert {each["name"] for each in said["facts"]} >= {"caller.affiliate", "caller.countries", "origin.country"}


REFUSED = {
    "nothing to explain": ([], "Say what to explain"),
    "two things to explain": (["a Shanghai", "--case", "x"], "Say what to explain"),
    "a flag without a value": (["--request", "GET /v1/jp/users/42", "--caller", "affiliate"], "NAME=VALUE"),
    "an attribute that is none": (["--request", "GET /v1/jp/users/42", "--caller", "afiliate=ly"], "affiliate"),
    "a request that is none": (["--request", "hello"], "no method and path"),
    "an instant that is none": (["--request", "GET /v1/jp/users/42", "--at", "now"], "instant"),
    "a purpose that is none": (["--request", "GET /v1/jp/users/42", "--purpose", "fun"], "purpose"),
    "a file that is not there": (["--case", "/nonexistent"], "cannot be read"),
    "a folder for a file": (["--line", "/"], "cannot be read"),
    "a decision of no ledger": (["--id", REQUEST_ID], "--ledger DIR"),
    "a decision that is none": (["--id", "R1", "--ledger", "/"], "no id of a decision"),
    "a decision of a ledger that is not there": (["--id", REQUEST_ID, "--ledger", "/nonexistent"], "cannot be read"),
    "a decision of what is no ledger": (["--id", f" {REQUEST_ID}\n", "--ledger", "/"], "/ is no ledger"),
    "a ledger for a test": (["a Shanghai", "--ledger", "/"], "goes with --line or --id"),
}


@pytest.mark.parametrize(("flags", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_explained_is_told_in_a_sentence(
    capsys: pytest.CaptureFixture[str], flags: list[str], told: str
) -> None:
    assert main(["explain", str(REFERENCE), *flags]) == 2
    assert told in capsys.readouterr().err


def test_nothing_that_a_terminal_would_act_on_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "line"
    file.write_text(a_line(rule="\x1b[31mred\x07", reason="\x1b]0;title\x9b"), encoding="utf-8")
    assert main(["explain", str(REFERENCE), "--line", str(file)]) == 0
    out = capsys.readouterr().out
    assert "red" in out
    assert not set(out) & set("\x1b\x07\x9b")


def test_a_line_without_a_folder_needs_one_that_keeps_its_bundle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "line").write_text(a_line(), encoding="utf-8")
    asked = ["explain", "--line", str(tmp_path / "line")]
    assert main(asked) == 2
    assert "Name the policy folder; or with --line, by --ledger DIR" in capsys.readouterr().err
    assert main([*asked, "--ledger", str(tmp_path / "ledger")]) == 2
    assert "that decided it is not kept in" in capsys.readouterr().err
    snapshot = reference_bundle()
    (tmp_path / "ledger").mkdir()
    asyncio.run(keep_bundle(Archive(tmp_path / "ledger"), snapshot))
    assert main([*asked, "--ledger", str(tmp_path / "ledger"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["remarks"][0].startswith(f"explained under the bundle that decided it: {snapshot.name}, in force since")
    kept = tmp_path / "ledger" / "bundles" / snapshot.digest
    assert said["places"]["jp-no-china"].startswith(f"{kept}/rules/deny.yaml:")


def test_without_a_folder_there_is_nothing_but_a_record_to_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--request", "GET /v1/jp/users/42"]) == 2
    assert "Name the policy folder" in capsys.readouterr().err


# Lists: whose data it is, the answer tells.

LIST = ("--request", "GET /v1/users", "--caller", "affiliate=home-co", "--caller", "kind=employee",
        "--caller", "residence=CN", "--origin", "country=JP")  # fmt: skip
ANSWER = {"users": [SATO | {"home": "Kyoto"}, KIM, LIN], "total": 3}


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("records"), FILES)


@pytest.fixture
def answer(tmp_path: Path) -> Path:
    path = tmp_path / "answer.json"
    path.write_text(json.dumps(ANSWER), encoding="utf-8")
    return path


def test_a_list_is_told_by_class_and_by_record(records: Path, answer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(records), *LIST, "--answer", str(answer)]) == 0
    out = capsys.readouterr().out
    for told in (
        "the request GET /v1/users: effect by-record: whose data it is, the answer tells",
        "JP: deny by no-china",
        "KR: allow by staff, mask user.contact, pseudonymise user.unique_id",
        "any other: allow by staff",
        "unknown: deny by no-china (by unknown)",
        "records of the answer: left 2, dropped 1, masked 1",
        "$.users[0]: JP, dropped by no-china",
        "$.users[1]: KR, masked by kr-masked",
        "mask $.phone",
        "$.users[2]: TW, left by staff",
        "nobody declared these, and they do not leave: $.users[*].country, $.users[*].home",
        "subject.country: unknown  (the answer tells it)",
    ):
        assert told in out, told
    for value in ("Sato", "Kim", "Lin", "Kyoto", *(each["phone"] for each in (SATO, KIM, LIN)), "8863"):
        assert value not in out, "no value of a record is told"


def test_without_an_answer_it_says_what_would_be_told(records: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(records), *LIST]) == 0
    out = capsys.readouterr().out
    assert "give an answer of the API, and each of its records is judged" in out
    assert "where a record could be dropped, the query may hold after, name" in out
    assert "records of the answer" not in out


def test_what_leaves_is_shown_where_it_is_asked_for(
    records: Path, answer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(records), *LIST, "--answer", str(answer), "--show-answer"]) == 0
    leaving = json.loads(capsys.readouterr().out.partition("what reaches the caller:\n")[2])
    assert [each["name"] for each in leaving["users"]] == ["Kim", "Lin"]
    assert leaving["users"][0]["phone"] == "******5432"


def test_a_list_as_json(records: Path, answer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(records), *LIST, "--answer", str(answer), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["verdict"].startswith("effect by-record")
    assert [each["subjects"] for each in said["classes"]] == ["JP", "KR", "any other", "unknown"]
    assert said["answer"]["summary"] == "left 2, dropped 1, masked 1"
    assert said["answer"]["records"][1]["fields"] == [
        {"path": "$.phone", "transform": "mask"}, {"path": "$.id", "transform": "pseudonymise"},
    ]  # fmt: skip
    assert said["answer"]["leaving"] is None


def test_an_answer_that_is_refused_says_why(records: Path, answer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = ["GET /v1/strict" if each == "GET /v1/users" else each for each in LIST]
    assert main(["explain", str(records), *request, "--answer", str(answer)]) == 0
    out = capsys.readouterr().out
    assert "effect deny, reason rule-denies" in out
    assert "records of the answer: refused, rule-denies by no-china" in out


REGISTERED = {
    "a register in memory": ("GET /v1/registered", "the register prefixes tells the country of the id of each record"),
    "a register that is kept elsewhere": (
        "GET /v1/several?ids=821,8862", "2 subjects, of KR, TW: each is decided by itself, and the strictest counts"),
    "a claim": (
        "GET /v1/claimed?country=TW&id=1",
        "the country is only a claim: the answer has to confirm it, in each of its records, or it is refused"),
}  # fmt: skip


@pytest.mark.parametrize(("request_", "told"), REGISTERED.values(), ids=REGISTERED.keys())
def test_how_it_is_found_out_whose_data_it_is(
    records: Path, request_: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    request = [request_ if each == "GET /v1/users" else each for each in LIST]
    assert main(["explain", str(records), *request]) == 0
    assert told in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_a_directory_is_not_asked(records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "answer.json").write_text('[{"id": "1"}, {"id": "2"}]', encoding="utf-8")
    request = ["GET /v1/directed" if each == "GET /v1/users" else each for each in LIST]
    assert main(["explain", str(records), *request, "--answer", str(tmp_path / "answer.json")]) == 0
    out = capsys.readouterr().out
    assert "the register directory is kept elsewhere and was not asked for 2 ids: unknown here" in out
    assert "$[1]: unknown, dropped by no-china (by unknown)" in out


MISUSED = {
    "of a record": (["--ledger", "x", "--id", REQUEST_ID, "--answer", "a"], "--answer is looked into for a request"),
    "nothing to show": ([*LIST, "--show-answer"], "--show-answer shows what leaves of an answer"),
    "a file that is none": ([*LIST, "--answer", "no-such-file"], "no-such-file cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize(("flags", "said"), MISUSED.values(), ids=MISUSED.keys())
def test_an_answer_that_belongs_to_nothing_is_refused(
    records: Path, flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(records), *flags]) == 2
    assert said in capsys.readouterr().err


def test_bytes_that_are_no_text_are_refused(records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "answer.json").write_bytes(b"\xff")
    assert main(["explain", str(records), *LIST, "--answer", str(tmp_path / "answer.json")]) == 2
    assert "is no UTF-8 text" in capsys.readouterr().err
