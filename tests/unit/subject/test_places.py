# SPDX-License-Identifier: Apache-2.0
from urllib.parse import unquote, urlsplit  # noqa: TID251 - reads what was written into a URL

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from proxy.subject.places import (
    MAX_URL,
    check_secrecy,
    measure_id,
    parse_array_query,
    parse_path,
    parse_postgresql_url,
    parse_query,
    parse_redis_key,
    parse_redis_url,
    parse_url_template,
    render_url,
    split_ids,
)

ONE = "https://directory.internal/users/{id}?view=country"
SEVERAL = "https://directory.internal/users?ids={ids}"


@pytest.mark.parametrize(
    "text", [ONE, SEVERAL, "http://127.0.0.1:9000/{id}", "http://[::1]:9/{id}", "http://d?id={id}", "https://d/{ids}"]
)
def test_a_url_in_which_ids_have_their_place(text: str) -> None:
    assert parse_url_template(text) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("https://directory.internal/users", "says once", id="no place for an id"),
        pytest.param("https://d/{id}/{id}", "says once", id="two places"),
        pytest.param("https://d/{id}/{ids}", "says once", id="one and several"),
        pytest.param("https://d/{id}/{name}", "says once", id="another mark"),
        pytest.param("https://d/{user}", "says once", id="only another mark"),
        pytest.param("https://{id}/users", "no URL", id="the id as host"),
        pytest.param("https://d:{id}/users", "no URL", id="the id as port"),
        pytest.param("https://user:pw@d/{id}", "no URL", id="a password"),
        pytest.param("ftp://d/{id}", "no URL", id="another scheme"),
        pytest.param("/users/{id}", "no URL", id="no host"),
        pytest.param("https://d/{id}#x", "no URL", id="a fragment"),
        pytest.param("https://d/ {id}", "no URL", id="a space"),
        pytest.param("https://d/ü/{id}", "no URL", id="a letter that is no ASCII"),
        pytest.param("https://d/a/../{id}", "dots alone", id="a segment of dots"),
    ],
)
def test_a_url_that_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_url_template(text)


@pytest.mark.parametrize(
    ("id_", "url"),
    [
        ("42", "https://directory.internal/users/42?view=country"),
        ("a/b", "https://directory.internal/users/a%2Fb?view=country"),
        ("a?b#c&d=e", "https://directory.internal/users/a%3Fb%23c%26d%3De?view=country"),
        ("%2e", "https://directory.internal/users/%252e?view=country"),
        ("佐藤", "https://directory.internal/users/%E4%BD%90%E8%97%A4?view=country"),
        ("{id}", "https://directory.internal/users/%7Bid%7D?view=country"),
        ("a,b", "https://directory.internal/users/a%2Cb?view=country"),
        ("..a", "https://directory.internal/users/..a?view=country"),
        (".", None),
        ("..", None),
    ],
)
def test_an_id_is_one_segment_and_nothing_else(id_: str, url: str | None) -> None:
    assert render_url(ONE, [id_]) == url


def test_several_ids_stand_between_commas() -> None:
    assert render_url(SEVERAL, ["1", "a,b", ".."]) == "https://directory.internal/users?ids=1,a%2Cb,.."


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40))
def test_what_is_sent_is_what_was_asked(id_: str) -> None:
    url = render_url(ONE, [id_])
    if url is None:
        assert id_ in {".", ".."}
        return
    sent = urlsplit(str(URL(url, encoded=True)))
    assert (sent.hostname, sent.query) == ("directory.internal", "view=country")
    before, users, last = sent.path.split("/")
    assert (before, users, unquote(last)) == ("", "users", id_)
    assert measure_id(id_) == len(last) + 1


@pytest.mark.parametrize(
    "text", ["https://d/{id}", "http://127.0.0.1:1/{id}", "http://localhost/{id}", "http://[::1]/{id}"]
)
def test_a_token_is_sent_where_nobody_listens(text: str) -> None:
    check_secrecy(text)


@pytest.mark.parametrize("text", ["http://d/{id}", "http://localhost.d/{id}", "http://127.0.0.1.d/{id}"])
def test_a_token_is_not_sent_in_clear(text: str) -> None:
    with pytest.raises(ValueError, match="https"):
        check_secrecy(text)


@pytest.mark.parametrize(
    "text", ["redis://h:6379/0", "rediss://user@h", "unix:///run/redis.sock?db=1", "redis://[::1]:6379"]
)
def test_where_a_redis_is(text: str) -> None:
    assert parse_redis_url(text) == text


@pytest.mark.parametrize("text", ["http://h", "redis://user:s3cret@h", "redis://:s3cret@h", "unix:/run/x", ""])
def test_where_no_redis_is_and_no_secret_is_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="redis://") as told:
        parse_redis_url(text)
    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize(
    "text",
    ["postgresql://h/d", "postgres://user@h:5432/d?sslmode=verify-full", "postgresql:///d?host=/run/postgresql"],
)
def test_where_a_database_is(text: str) -> None:
    assert parse_postgresql_url(text) == text


@pytest.mark.parametrize(
    "text", ["postgresql://u:s3cret@h/d", "postgresql://h/d?password=s3cret", "postgresql://h", "mysql://h/d", "h"]
)
def test_where_no_database_is_and_no_secret_is_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="postgresql://") as told:
        parse_postgresql_url(text)
    assert "s3cret" not in str(told.value)


def test_a_path_begins_at_the_root() -> None:
    assert parse_path("/var/lib/users.db") == "/var/lib/users.db"
    for text in ("users.db", "", "/a\0b"):
        with pytest.raises(ValueError, match="root"):
            parse_path(text)


def test_a_key_has_a_place_for_the_id() -> None:
    assert parse_redis_key("user:{id}:country") == "user:{id}:country"
    for text in ("user", "{id}{id}", "{ids}"):
        with pytest.raises(ValueError, match="id"):
            parse_redis_key(text)


@pytest.mark.parametrize(
    "text",
    ["SELECT id, country FROM users WHERE id IN ({ids})", "with x as (select 1) select a, b from x where a in ({ids})"],
)
def test_a_query(text: str) -> None:
    assert parse_query(text) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("DELETE FROM users WHERE id IN ({ids})", "SELECT", id="it changes something"),
        pytest.param("SELECT 1; SELECT {ids}", "semicolon", id="two"),
        pytest.param("SELECT id, country FROM users", "once", id="no place for ids"),
        pytest.param("SELECT {ids} WHERE {ids}", "once", id="two places"),
        pytest.param("SELECT id WHERE id = '{id}'", "once", id="a place for one id"),
        pytest.param("selection {ids}", "SELECT", id="a word that only begins so"),
    ],
)
def test_a_query_that_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_query(text)


@given(st.lists(st.integers(0, 3000), max_size=30), st.integers(1, 10))
def test_parts_hold_everything_once_and_are_small(sizes: list[int], most: int) -> None:
    ids = [str(number) for number in range(len(sizes))]
    parts = list(split_ids(ids, most, sizes))
    assert [id_ for part in parts for id_ in part] == ids
    for part in parts:
        assert 0 < len(part) <= most
        assert len(part) == 1 or sum(sizes[int(id_)] for id_ in part) <= MAX_URL
    assert [len(part) for part in split_ids(ids, 10)] == [10] * (len(ids) // 10) + [len(ids) % 10] * bool(len(ids) % 10)


@pytest.mark.parametrize("text", ["id = ANY({ids})", "id = any({ids}::bigint[])", "id IN (SELECT unnest({ids}))"])
def test_an_array_of_ids(text: str) -> None:
    query = f"SELECT id, country FROM users WHERE {text}"  # noqa: S608 - it goes nowhere
    assert parse_array_query(query) == query


@pytest.mark.parametrize("text", ["id IN ({ids})", "id in( {ids} )"])
def test_an_array_is_no_list(text: str) -> None:
    with pytest.raises(ValueError, match=r"write = ANY\(\{ids\}\)"):
        parse_array_query(f"SELECT id, country FROM users WHERE {text}")  # noqa: S608 - as above
