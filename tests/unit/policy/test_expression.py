# SPDX-License-Identifier: Apache-2.0
import threading
import time
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.model.facts import ABSENT, NOT_APPLICABLE, UNKNOWN, FactSet, Truth
from proxy.policy.attributes import Domain, Vocabulary
from proxy.policy.expression import MAX_MEMBERS, MAX_TEXT, Expression, compile_expression

VOCABULARY: Final = Vocabulary(
    ids={Domain.AFFILIATES: frozenset({"ly"})},
    country_sets={},
    control_rules=frozenset({"majority", "any-stake"}),
    empty_when_absent=frozenset(),
)
VALUES: Final = {
    "caller.kind": "employee",
    "caller.client": None,
    "caller.groups": ["privacy-team", "営業"],
    "caller.roles": [],
    "caller.control.majority.countries": {"JP"},
    "caller.control.any-stake.countries": {"JP", "KR"},
    "origin.country": "JP",
    "action": "read",
}


def compiled(text: str) -> Expression:
    expression = compile_expression(text, VOCABULARY)
    assert isinstance(expression, Expression), expression
    return expression


@pytest.mark.parametrize(
    ("text", "mentions", "truth"),
    [
        pytest.param('caller.kind == "employee"', {"caller.kind"}, True, id="a text is compared"),
        pytest.param('action in ["read", "export"]', {"action"}, True, id="a text is one of a list"),
        pytest.param('"営業" in caller.groups', {"caller.groups"}, True, id="a text is in a set"),
        pytest.param("size(caller.groups) > 1", {"caller.groups"}, True, id="members are counted"),
        pytest.param("size(caller.roles) == 0", {"caller.roles"}, True, id="an empty set has none"),
        pytest.param(
            "caller.roles.all(r, r in caller.groups)", {"caller.roles", "caller.groups"}, True, id="one set in another"
        ),
        pytest.param(
            "caller.groups.exists(g, g.startsWith(action))", {"caller.groups", "action"}, False, id="inside a macro"
        ),
        pytest.param(
            '"JP" in caller.control.majority.countries',
            {"caller.control.majority.countries"},
            True,
            id="a control rule",
        ),
        pytest.param(
            '"KR" in caller.control.`any-stake`.countries',
            {"caller.control.any-stake.countries"},
            True,
            id="a control rule in backticks",
        ),
        pytest.param('caller . // kind\n `kind` == "x"', {"caller.kind"}, False, id="spread out, with a comment"),
        pytest.param('.caller.kind == "x"', {"caller.kind"}, False, id="a leading dot is the same attribute"),
        pytest.param('caller.kind == "caller.id"', {"caller.kind"}, False, id="a text that looks like an attribute"),
        pytest.param(r'"\x63aller.id" == caller.kind', {"caller.kind"}, False, id="an escape is part of a text"),
        pytest.param("'''\"caller.id\" // ''' == action", {"action"}, False, id="a text in three quotes"),
        pytest.param(
            'true || caller.kind == "x"', {"caller.kind"}, True, id="what is not evaluated is mentioned all the same"
        ),
        pytest.param("caller.client == null", {"caller.client"}, True, id="absent is null"),
        pytest.param('caller.client != "x"', {"caller.client"}, True, id="absent is no text"),
        pytest.param('caller.client.startsWith("x")', {"caller.client"}, None, id="absent has no beginning: no answer"),
        pytest.param('!caller.client.startsWith("x")', {"caller.client"}, None, id="nor has its opposite an answer"),
        pytest.param(
            'caller.client.startsWith("x") || action == "read"', {"caller.client", "action"}, True, id="or absorbs"
        ),
        pytest.param(
            'caller.client.startsWith("x") && action == "z"', {"caller.client", "action"}, False, id="and absorbs"
        ),
    ],
)
def test_what_an_expression_mentions_and_answers(text: str, mentions: set[str], truth: Truth) -> None:
    found = compiled(text)
    assert found.mentions == mentions
    assert found.evaluate(VALUES) is truth


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "is empty", id="nothing"),
        pytest.param(f"action == '{'x' * MAX_TEXT}'", "at most 2000 characters", id="too long"),
        pytest.param('action == "re\u202ead"', "U+202E", id="an invisible character"),
        pytest.param('action == "\ud800"', "U+D800", id="half a character"),
        pytest.param('action == "\0"', "U+0000", id="a null"),
        pytest.param("(" * 40 + 'action == "x"' + ")" * 40, "nested too deeply", id="nested too deeply"),
        pytest.param("(" * 1999, "nested too deeply", id="never closed"),
        pytest.param('caller.kindd == "x"', "did you mean 'caller.kind'?", id="a misspelt attribute"),
        pytest.param('caller["kind"] == "x"', "name the attribute, such as caller.", id="an index hides an attribute"),
        pytest.param("caller == null", "name the attribute, such as caller.", id="a bare root"),
        pytest.param('has(caller.kind) && action == "x"', "`has` is not offered", id="has"),
        pytest.param('has // (\n(caller.kind) == "x"', "`has` is not offered", id="has behind a comment"),
        pytest.param('"JP" in caller.control.minor.countries', "no control rule 'minor'", id="an unknown control rule"),
        pytest.param('"JP" in caller.control.any-stake.countries', "backticks", id="a hyphen is a minus"),
        pytest.param('"user" in resource.data', "write a matcher", id="categories are not texts"),
        pytest.param('subject.persona == "x"', "not yet supported", id="an attribute of a later version"),
        pytest.param('caller.groups.exists(action, action == "x")', "hides attributes", id="a variable hides one"),
        pytest.param('caller.groups.exists(caller, caller == "x")', "hides attributes", id="a variable hides many"),
        pytest.param(
            "caller.groups.exists(g, caller.roles.exists(r, r == g))", "inside a macro", id="a macro in a macro"
        ),
        pytest.param(
            'caller.groups.map(g, g + g).exists(g, g == "x")', "nothing computed", id="a macro over something computed"
        ),
        pytest.param('(caller.groups + ["x"]).exists(g, g == "x")', "nothing computed", id="a macro over a sum"),
        pytest.param('caller.groups[0] == "x"', "no order", id="a place in a set"),
        pytest.param('caller.groups == ["x"]', "not compared with `==`", id="a set compared with a list"),
        pytest.param('caller.kind.matches("x")', "`matches` is not offered", id="a regular expression"),
        pytest.param('caller.groups.any(g, g == "x")', "no function 'any'", id="an unknown macro"),
        pytest.param("dyn(caller.kind) == 3", "`dyn` is not offered", id="a way round types"),
        pytest.param('{"a": action}["a"] == "x"', "no keys", id="a map"),
        pytest.param("google.protobuf.Empty{} != action", "no attribute 'google", id="a message"),
        pytest.param("caller.kind == 3", "`==` does not take a text and a whole number", id="a text and a number"),
        pytest.param("caller.kind", "gives a text", id="no question"),
        pytest.param("1 == 1", "asks about no attribute", id="no attribute"),
        pytest.param('caller.kind = "x"', "write `==`", id="one equals sign"),
        pytest.param('caller.kind == "x" and true', "`&&`", id="a word for an operator"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    found = compile_expression(text, VOCABULARY)
    assert isinstance(found, str)
    assert said in found


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({}, id="nothing is given"),
        pytest.param({"caller.kind": "x"}, id="one is missing"),
        pytest.param({"caller.kind": "\ud800", "caller.groups": []}, id="half a character"),
        pytest.param({"caller.kind": "x", "caller.groups": ["\udfff"]}, id="half a character in a set"),
        pytest.param({"caller.kind": 3, "caller.groups": []}, id="a number"),
        pytest.param({"caller.kind": "x", "caller.groups": ["a", 3]}, id="a number in a set"),
        pytest.param({"caller.kind": "x", "caller.groups": None}, id="no set"),
        pytest.param({"caller.kind": "x", "caller.groups": ["z"] * (MAX_MEMBERS + 1)}, id="too many members"),
        pytest.param({"caller.kind": object(), "caller.groups": []}, id="anything else"),
    ],
)
def test_facts_it_cannot_take_give_no_answer(values: dict[str, Any]) -> None:
    assert compiled('caller.kind == "y" || "z" in caller.groups').evaluate(values) is None


def test_only_what_is_mentioned_is_handed_over() -> None:
    class Watched(dict[str, object]):
        asked: Final[set[str]] = set()

        def __getitem__(self, name: str) -> object:
            self.asked.add(name)
            return super().__getitem__(name)

    compiled('caller.kind == "x"').evaluate(Watched(VALUES))
    assert Watched.asked == {"caller.kind"}


@pytest.mark.parametrize(
    ("facts", "truth"),
    [
        pytest.param({"caller.kind": "x", "caller.groups": FactSet(frozenset({"a"}))}, True, id="known"),
        pytest.param({"caller.kind": ABSENT, "caller.groups": ABSENT}, False, id="absent: null, and the empty set"),
        pytest.param({"caller.kind": "x", "caller.groups": UNKNOWN}, None, id="unknown is not evaluated"),
        pytest.param(
            {"caller.kind": "x", "caller.groups": FactSet(frozenset({"a"}), is_open=True)}, None, id="an open set"
        ),
        pytest.param({"caller.kind": NOT_APPLICABLE, "caller.groups": ABSENT}, False, id="not applicable is false"),
        pytest.param({"caller.kind": NOT_APPLICABLE, "caller.groups": UNKNOWN}, None, id="unknown comes first"),
    ],
)
def test_facts_in_their_states(facts: dict[str, Any], truth: Truth) -> None:
    assert compiled('caller.kind == "x" && "a" in caller.groups')(facts) is truth


def test_what_attributes_are_compared_with_is_known() -> None:
    expression = compiled('caller.kind in ["a", "b"] && "c" != action && caller.groups.exists(g, g == "d")')
    assert expression.compared == {
        ("caller.kind", "a"),
        ("caller.kind", "b"),
        ("action", "c"),
        ("caller.groups", "d"),
    }


PIECES: Final = st.sampled_from(
    [
        *("(", ")", "[", "]", "{", "}", "?", ":", ".", ",", "!", "-", "+", "<", "'", '"', "`", "\\", "@", "é", "\n"),
        *("&&", "||", "==", " in ", "'''", 'r"', "b'", "//", "1", "1u", "null", "has(", "x", "size(", '"a"'),
        *("caller", "caller.kind", "caller.groups", ".exists(x,", ".all(caller,", "action"),
    ]
)


@given(st.text() | st.lists(PIECES, max_size=60).map("".join))
@example(">" + "{" * 63 + "?[" + "(" * 11 + "{" * 26 + "l\0?(-")
@example("[" * 1999)
def test_no_text_raises(text: str) -> None:
    found = compile_expression(text, VOCABULARY)
    if isinstance(found, Expression):
        assert found.evaluate(VALUES) in {True, False, None}
    else:
        assert "\n" not in found


WORSE: Final = [
    "(" * 29 + "action == 'x'" + ")" * 29,
    "!" * 1900 + "(action == 'x')",
    "||".join(["action == 'x'"] * 120),
    " + ".join(["action"] * 25) + " == 'x'",
    "action == 'x' ? true : " * 25 + "false",
    "{" * 1999,
    "?:" * 900,
]


def test_a_small_stack_is_enough() -> None:
    """A native stack overflow would end the process: what is deepest compiles on an eighth of a usual thread."""
    before = threading.stack_size(512 * 1024)
    try:
        worker = threading.Thread(target=lambda: [compile_expression(text, VOCABULARY) for text in WORSE])
        worker.start()
    finally:
        threading.stack_size(before)
    worker.join(10)
    assert not worker.is_alive()


def test_a_costly_expression_ends_soon() -> None:
    inner = " || ".join(["g in caller.groups"] * 80)
    expression = compiled(f"caller.groups.all(g, {inner})")
    members = [f"group-{number}" for number in range(300)]
    started = time.process_time()
    assert expression.evaluate({"caller.groups": members}) is True
    assert time.process_time() - started < 5
