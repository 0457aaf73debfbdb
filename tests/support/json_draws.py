# SPDX-License-Identifier: Apache-2.0
"""Declarations of answers, and answers that fit them, drawn: with a secret of its own in every scalar, written oddly.

Whoever draws knows without reading JSON whose record each secret stands in, so that a filter can be held to what may
leave without asking another filter.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Final, TypeAlias

from hypothesis import strategies as st

from proxy.model.api import Transform
from proxy.model.country import CountryForm
from proxy.model.facts import UNKNOWN, Fact
from proxy.model.filtering import Verdict
from proxy.model.inspection import Beyond, Field, Inspection, Media, Member, OnDenied
from proxy.model.json_path import EVERY, Every, JsonPath, Step
from tests.support.json_writing import Draft, Writer, join, styles
from tests.support.judging import ALLOWED, DENIED, Table, allowed_with

CATEGORIES: Final = ("user", "user.name", "user.contact", "user.contact.phone_number", "user.unique_id", "system")
COUNTRIES: Final = ("JP", "KR", "TW")
WRITTEN: Final[Mapping[CountryForm, Mapping[str, tuple[str, ...]]]] = {
    CountryForm.ALPHA2: {code: (code,) for code in COUNTRIES},
    CountryForm.LOWER: {code: (code.lower(),) for code in COUNTRIES},
    CountryForm.ALPHA3: {"JP": ("JPN",), "KR": ("KOR",), "TW": ("TWN",)},
    CountryForm.ANY_CASE: {code: (code, code.lower(), code.title()) for code in COUNTRIES},
    CountryForm.NAME: {"JP": ("Japan",), "KR": ("South Korea",), "TW": ("Taiwan",)},
}
DECLARED: Final = ("users", "data", "name", "phone", "名前", "a b", "x", "id")
"""Names that a declaration may hold; ``country`` is always a country."""
UNDECLARED: Final = (
    "Name",
    "nam",
    "",
    "na\u0000me",
    "é",
    "e\u0301",
    "\U0001f600",
    "$",
    "*",
    "\ud800",
    "__proto__",
    "secret",
    "users ",
)
NOISE: Final = (
    "", " ", "\n", '"', "\\", "/", "\u0000", "é", "e\u0301", "\u202e", "\u2028", "\U0001f468\u200d\U0001f469", "\ud83d",
    "\udc00\ud800", "\\u0041", "},{", '":"', "data: x\n\n", "]}", "\x7f", "山田", "٣",
)  # fmt: skip
NUMBERS: Final = ("{}", "-{}", "{}.0", "{}e5", "-{}.25E+03", "{}e-400", "{}E400", "0.{}", "{}" + "0" * 60)


@dataclass
class Record:
    """A record as drawn."""

    countries: tuple[Fact[str], ...]
    id: Fact[str]
    secrets: frozenset[str]
    """In its declared fields, in its id, and in the name under which it stands."""


@dataclass
class Answer:
    """A drawn answer."""

    body: bytes
    documents: list[bytes]
    records: list[Record]
    undeclared: set[str]
    """Secrets of members that nothing declares, outside of records and in them."""
    beyond: set[str]
    """Secrets of members that tell of what is not in the answer."""


# Declarations.

_STEPS: Final[st.SearchStrategy[Step]] = st.sampled_from((*DECLARED, EVERY, EVERY))
_RECORDS: Final[st.SearchStrategy[JsonPath]] = st.one_of(
    st.sampled_from(
        (("users", EVERY), (EVERY,), ("data", "users", EVERY), ("data", EVERY, "users", EVERY), ("x",), ())
    ),
    st.lists(_STEPS, max_size=3).map(lambda steps: (*steps, EVERY)),
    st.lists(_STEPS, max_size=4).map(tuple),
)
_PATH: Final[st.SearchStrategy[JsonPath]] = st.lists(_STEPS, min_size=1, max_size=3).map(tuple)


def _stand_apart(one: JsonPath, other: JsonPath) -> bool:
    """Say whether two paths part at two names: neither leads to or below the other, nor wants another container."""
    for a, b in zip(one, other, strict=False):
        if a != b:
            return isinstance(a, str) and isinstance(b, str)
    return False


def _apart(drawn: list[JsonPath], taken: list[JsonPath]) -> list[JsonPath]:
    kept: list[JsonPath] = []
    for path in drawn:
        if all(_stand_apart(path, other) for other in [*kept, *taken]):
            kept.append(path)
    return kept


@st.composite
def inspections(draw: st.DrawFn, media: Media | None = None) -> Inspection:
    """A declaration as the schema of ``apis`` would let pass."""
    records: JsonPath = draw(_RECORDS)
    country: JsonPath | None = draw(
        st.sampled_from((None, ("country",), ("country",), ("x", "country"), ("country", EVERY)))
    )
    is_map = bool(records) and not isinstance(records[-1], str)
    is_id_key = is_map and draw(st.integers(0, 3)) == 0
    id_: JsonPath | None = None if is_id_key else draw(st.sampled_from((None, ("id",), ("id",), ("x", "id"))))
    taken = [each for each in (country, id_) if each]
    paths = _apart(draw(st.lists(_PATH, min_size=1, max_size=4)), taken)
    paths += [each for each in taken if draw(st.booleans())]
    fields = tuple(
        Field(path, draw(st.sampled_from(CATEGORIES)), draw(st.integers(1, 5))) for path in paths or [("name",)]
    )
    members = [
        Member(path, beyond, "after" if beyond is Beyond.CURSOR else "")
        for path in (_apart(draw(st.lists(_PATH, max_size=3)), [records]) if records else [])
        for beyond in [draw(st.sampled_from(Beyond))]
    ]
    return Inspection(
        media=media or draw(st.sampled_from(Media)),
        records=records,
        country=country,
        form=draw(st.sampled_from(CountryForm)),
        id=id_,
        is_id_key=is_id_key,
        fields=fields,
        members=tuple(members),
        on_denied=draw(st.sampled_from((OnDenied.DROP, OnDenied.DROP, OnDenied.DROP, OnDenied.REFUSE))),
        refuses_undeclared=draw(st.integers(0, 7)) == 7,
    )


# Rules.


@st.composite
def tables(draw: st.DrawFn, *, by_id: bool = True) -> Table:
    """What becomes of records: by country, and perhaps by id; where neither is known, mostly denied."""
    acts = st.dictionaries(st.sampled_from(CATEGORIES), st.sampled_from(Transform), min_size=1, max_size=2)
    verdict = st.one_of(st.just(DENIED), st.just(ALLOWED), acts.map(allowed_with), acts.map(allowed_with))
    countries: dict[Fact[str], Verdict] = {code: draw(verdict) for code in COUNTRIES}
    ids: dict[Fact[str], Verdict] = {}
    tells_ids = by_id and draw(st.booleans())
    if tells_ids:
        ids = {id_: draw(verdict) for id_ in draw(st.lists(st.sampled_from(IDS), max_size=4, unique=True))}
    countries[UNKNOWN] = draw(st.sampled_from((DENIED, DENIED, ALLOWED)))
    return Table(countries, ids, DENIED, tells_ids)


IDS: Final = (*(f"sub{n:03}x" for n in range(4)), *(f"{8_800_000 + n}" for n in range(3)), "サブ7x")


# Answers.


_OF_ONE: Final[st.SearchStrategy[tuple[str, ...] | None]] = st.one_of(
    st.sampled_from(COUNTRIES).map(lambda code: (code,)),
    st.lists(st.sampled_from(COUNTRIES), max_size=2).map(tuple),
    st.none(),
)
"""Countries of one record; None where it does not say."""
_OF_ROW: Final = st.one_of(*[st.sampled_from(COUNTRIES).map(lambda code: (code,))] * 6, _OF_ONE)
"""Mostly one."""
_ID: Final = st.sampled_from((*IDS, *IDS, None))
Leaf: TypeAlias = Callable[[Any, str | None], Draft]
"""What stands at the end of a path, under a name."""


class _Draw:
    """Draws one document after another, and hands out secrets."""

    def __init__(self, draw: st.DrawFn, inspection: Inspection) -> None:
        self.inspection = inspection
        self.count = 0
        self.records: list[Record] = []
        self.undeclared: set[str] = set()
        self.beyond: set[str] = set()
        self.is_uniform = draw(st.booleans())
        """Whether all records have one skeleton, as those of a table do."""
        self.rows = draw(st.integers(2, 12)) if self.is_uniform else 0
        self._lists: dict[str, list[Any]] = {
            "noise": draw(st.lists(st.sampled_from(NOISE), min_size=1, max_size=4)),
            "numbers": draw(st.lists(st.sampled_from((*NUMBERS, "", "", "")), min_size=1, max_size=4)),
            "extras": draw(st.lists(st.integers(0, 8), min_size=1, max_size=8)),
            "sizes": draw(st.lists(st.integers(0, 4), min_size=1, max_size=6)),
            "gone": draw(st.lists(st.integers(0, 9), min_size=1, max_size=6)),
        }
        of_one = _OF_ROW if self.is_uniform else _OF_ONE
        self._people = cycle(draw(st.lists(st.tuples(of_one, _ID, st.integers(0, 11)), min_size=1, max_size=6)))
        self.begin()

    def begin(self) -> None:
        """Draw from the beginning of all lists again."""
        self.noise: Iterator[str] = cycle(self._lists["noise"])
        self.numbers: Iterator[str] = cycle(self._lists["numbers"])
        self.extras: Iterator[int] = cycle(self._lists["extras"])
        self.sizes: Iterator[int] = cycle(self._lists["sizes"])
        self.gone: Iterator[int] = cycle(self._lists["gone"])

    def secret(self) -> str:
        self.count += 1
        return f"77{self.count:05}"

    def scalar(self, into: set[str]) -> Draft:
        secret = self.secret()
        into.add(secret)
        form = next(self.numbers)
        if form:
            return Draft("number", text=form.format(secret))
        return Draft("string", text=f"q{secret}z{next(self.noise)}")

    def anything(self, into: set[str], depth: int = 0) -> Draft:
        """A value of any shape."""
        shape = next(self.extras)
        if shape < 6 or depth > 2:
            return self.scalar(into)
        kind = "array" if shape == 6 else "object"
        names = ("name", "country", "other")[: next(self.sizes)]
        return Draft(kind, [(name, self.anything(into, depth + 1)) for name in names])

    def value(self, into: set[str]) -> Draft:
        """What stands at a declared path: what holds more than scalars is undeclared there."""
        found: set[str] = set()
        draft = self.anything(found) if next(self.extras) > 3 else self.scalar(found)
        holds_containers = draft.kind == "object" or any(each.kind in {"array", "object"} for _, each in draft.children)
        (self.undeclared if holds_containers else into).update(found)
        return draft

    def document(self) -> Draft:
        envelope = [(self.inspection.records, "record"), *((each.path, each) for each in self.inspection.members)]
        return self.container(envelope, self.undeclared, self.envelope_leaf, can_lack=())

    def envelope_leaf(self, what: Any, name: str | None) -> Draft:
        if what == "record":
            return self.record(name)
        if what.beyond is not Beyond.CURSOR:
            return self.value(set() if what.beyond is Beyond.NOTHING else self.beyond)
        secret = self.secret()
        self.beyond.add(secret)
        return Draft("string", text=f"q{secret}z")

    def container(
        self, paths: list[tuple[JsonPath, Any]], extra: set[str], leaf: Leaf, can_lack: Any, name: str | None = None
    ) -> Draft:
        """A value on the way to some paths, with members that none of them declares."""
        ended = [what for path, what in paths if not path]
        if ended:
            return leaf(ended[0], name)
        stars = [(path[1:], what) for path, what in paths if isinstance(path[0], Every)]
        if stars:
            return self.many(stars, extra, leaf, can_lack)
        children: list[tuple[str, Draft]] = []
        for step in dict.fromkeys(path[0] for path, _ in paths):
            below = [(path[1:], what) for path, what in paths if path[0] == step]
            assert isinstance(step, str)
            if any(what in can_lack for _, what in below) and next(self.gone) == 0:
                continue
            children.append((step, self.container(below, extra, leaf, can_lack, step)))
        self.add_extras(children, extra)
        return Draft("object", children)

    def many(self, below: list[tuple[JsonPath, Any]], extra: set[str], leaf: Leaf, can_lack: Any) -> Draft:
        is_record = any(path == () and what == "record" for path, what in below)
        size = next(self.sizes)
        if is_record and self.is_uniform:
            size = self.rows
        is_array = next(self.sizes) < 2
        if is_record and self.inspection.is_id_key:
            is_array = False
        names = [f"key{self.secret()}k" for _ in range(size)]
        if is_record and self.inspection.is_id_key:
            names = list(dict.fromkeys(IDS[(self.count + n) % len(IDS)] for n in range(size)))
        children = [(name, self.container(below, extra, leaf, can_lack, None if is_array else name)) for name in names]
        return Draft("array" if is_array else "object", children)

    def add_extras(self, children: list[tuple[str, Draft]], extra: set[str]) -> None:
        taken = {name for name, _ in children} | {*DECLARED, "country"}
        for _ in range(max(0, next(self.extras) - 5)):
            name = UNDECLARED[next(self.extras) * 3 % len(UNDECLARED)]
            if name not in taken:
                taken.add(name)
                children.insert(next(self.extras) % (len(children) + 1), (name, self.anything(extra)))

    # Records.

    def record(self, name: str | None) -> Draft:
        if self.is_uniform:
            self.begin()
        own: set[str] = set()
        codes, text, how = next(self._people)
        countries, country = self.country(codes, how)
        id_, id_draft = self.id(text, how)
        if self.inspection.is_id_key and name is not None:
            id_ = name
        if name is not None and name.startswith("key"):
            own.add(name)
        drafts = {"country": country, "id": id_draft}

        def leaf(what: Any, _: str | None) -> Draft:
            if what == "field":
                return self.value(own)
            draft = drafts[what]
            assert draft is not None
            return draft

        paths = self.paths_of(drafts)
        made = self.container(paths, self.undeclared, leaf, ["field"]) if paths else Draft("object")
        if isinstance(id_, str):
            own.add(id_)
        self.records.append(Record(countries, id_, frozenset(own)))
        return made

    def paths_of(self, drafts: Mapping[str, Draft | None]) -> list[tuple[JsonPath, Any]]:
        """Return where what stands in a record; what is drafted stands in the place of a field."""
        paths: list[tuple[JsonPath, Any]] = [(each.path, "field") for each in self.inspection.fields]
        for path, what in ((self.inspection.country, "country"), (self.inspection.id, "id")):
            if path is None:
                continue
            paths = [(each, was) for each, was in paths if each != path]
            if drafts[what] is not None:
                paths.append((path if isinstance(path[-1], str) else path[:-1], what))
        return paths

    def country(self, codes: tuple[str, ...] | None, how: int) -> tuple[tuple[Fact[str], ...], Draft | None]:
        if self.inspection.country is None:
            return (UNKNOWN,), None
        is_several = not isinstance(self.inspection.country[-1], str)
        forms = WRITTEN[self.inspection.form]
        if codes is None:
            return (UNKNOWN,), None if is_several or how % 2 else Draft("null", text="null")
        drafts = [
            ("", Draft("string", text=forms[code][(how + at) % len(forms[code])])) for at, code in enumerate(codes)
        ]
        facts: tuple[Fact[str], ...] = codes or (UNKNOWN,)
        if len(codes) == 1 and not is_several:
            return facts, drafts[0][1]
        return facts, Draft("array", drafts)

    def id(self, text: str | None, how: int) -> tuple[Fact[str], Draft | None]:
        if self.inspection.id is None:
            return UNKNOWN, None
        if text is None:
            return UNKNOWN, None if how // 2 % 2 else Draft("null", text="null")
        is_number = text.isascii() and text.isdigit() and how % 4 < 2
        return text, Draft("number" if is_number else "string", text=text)


@st.composite
def answers(draw: st.DrawFn, inspection: Inspection, *, spoils: bool = False) -> Answer:
    """An answer that fits its declaration; or one that does not, and then nobody knows whose each secret is."""
    drawing = _Draw(draw, inspection)
    style = draw(styles(inspection.media, is_uniform=drawing.is_uniform))
    writer = Writer(style)
    count = 1 if inspection.media is Media.JSON else draw(st.integers(0, 7)) % 5
    if drawing.is_uniform and inspection.media is not Media.JSON and not inspection.records:
        count = drawing.rows
    drafts = [drawing.document() for _ in range(count)]
    if spoils:
        for draft in drafts[-1:]:
            spoil(draw, draft)
    documents = [writer.write(draft) for draft in drafts]
    body = join(inspection.media, documents, style)
    return Answer(body, documents, drawing.records, drawing.undeclared, drawing.beyond)


_STRANGE: Final = (
    ("null", "null"), ("true", "true"), ("number", "0"), ("number", "-0"), ("number", "1.0"), ("number", "9" * 129),
    ("string", ""), ("string", "jp"), ("string", "JPN"), ("string", "KR "), ("string", "\ud800"), ("array", ""),
    ("object", ""),
)  # fmt: skip


def spoil(draw: st.DrawFn, draft: Draft) -> None:
    """Put something else in the place of something, have a member stand twice, or take one away."""
    places = [(holder, at) for holder in _holders(draft) for at in range(len(holder.children))]
    if not places:
        draft.kind, draft.text = draw(st.sampled_from(_STRANGE))
        return
    holder, at = draw(st.sampled_from(places))
    name, child = holder.children[at]
    how = draw(st.integers(0, 5))
    if how == 0:
        holder.children.insert(draw(st.integers(0, len(holder.children))), (name, child))
    elif how == 1:
        del holder.children[at]
    elif how == 2:
        holder.children[at] = (name, Draft("array", [("", child), ("", child)]))
    else:
        kind, text = draw(st.sampled_from(_STRANGE))
        holder.children[at] = (name, Draft(kind, text=text))


def _holders(draft: Draft) -> list[Draft]:
    below = [holder for _, child in draft.children for holder in _holders(child)]
    return [draft, *below] if draft.children else below
