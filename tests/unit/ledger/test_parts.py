# SPDX-License-Identifier: Apache-2.0
"""What the ledgers of replicas and workers are called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.parts import (
    MAX_REPLICA_CHARS,
    REPLICA_LEVEL,
    WORKER_LEVEL,
    check_replica,
    find_part,
    find_rank,
    join_name,
    replica_part,
    split_name,
    worker_part,
)

WORKERS = st.integers(1, 9999).map(worker_part)
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
REPLICAS = st.lists(LABELS, min_size=1, max_size=4).map(lambda labels: replica_part(".".join(labels)))
PARTS = st.one_of(WORKERS, REPLICAS, st.tuples(REPLICAS, WORKERS).map("/".join))
NAMES = st.text(min_size=1).filter(lambda name: split_name(name) == (name, ""))
"""Those that are no part's themselves."""


@given(NAMES, PARTS)
def test_a_name_that_was_joined_is_split_again(name: str, part: str) -> None:
    signed = join_name(name, part)
    assert split_name(signed) == (name, part)
    assert find_part(signed, name) == part


@given(st.text(), st.text())
def test_whatever_is_split_was_joined(signed: str, whole: str) -> None:
    name, part = split_name(signed)
    assert join_name(name, part) == signed or (signed, part) == (name, "")
    found = find_part(signed, whole)
    assert found is None or signed in {whole, f"{whole}/{found}"}


@given(REPLICAS, WORKERS)
def test_a_key_that_is_called_as_a_replica_is_signs_for_its_workers(replica: str, worker: str) -> None:
    whole = f"ledger.example/{replica}"
    assert find_part(f"{whole}/{worker}", whole) == worker


@pytest.mark.parametrize(
    "name",
    [
        "worker", "worker-", "worker-0", "worker-01", "worker-x", "worker-12345", "Worker-1", "worker-1 ", "worker-１",
        "replica", "replica-", "Replica-a", "replica-A", "replica-..", "replica-.", "replica-a.", "replica-.a",
        "replica-a..b", "replica--a", "replica-a-", "replica-a_b", "replica-a b", "replica-a\n", "replica-é",
        "replica-１", "replica-" + "a" * (MAX_REPLICA_CHARS + 1),
    ],
)  # fmt: skip
def test_what_is_called_otherwise_is_no_part(name: str) -> None:
    assert find_rank(name) is None
    assert split_name(f"ledger.example/{name}") == (f"ledger.example/{name}", "")
    assert find_part(f"ledger.example/{name}", "ledger.example") is None


@pytest.mark.parametrize(
    ("signed", "part"),
    [
        pytest.param("worker-1", "", id="nothing before it"),
        pytest.param("/worker-1", "", id="an empty name before it"),
        pytest.param("ledger.example/worker-1/x", "", id="something behind it"),
        pytest.param("", "", id="nothing at all"),
        pytest.param("k/worker-1/worker-2", "worker-2", id="a worker in a worker"),
        pytest.param("k/worker-1/replica-a", "replica-a", id="a replica in a worker"),
        pytest.param("k/replica-a/replica-b", "replica-b", id="a replica in a replica"),
        pytest.param("k/replica-a/replica-b/worker-1", "replica-b/worker-1", id="two replicas and a worker"),
        pytest.param("replica-a/worker-1", "worker-1", id="a key that is called as a replica is"),
    ],
)
def test_only_workers_stand_in_replicas_and_nothing_in_workers(signed: str, part: str) -> None:
    assert split_name(signed)[1] == part


@pytest.mark.parametrize(
    "signed", ["k", "kk/worker-1", "k/", "k/x", "k/replica-a/replica-b", "K/worker-1", "k//worker-1"]
)
def test_what_is_of_another_name_is_no_part_of_a_whole(signed: str) -> None:
    assert find_part(signed, "k") == ("" if signed == "k" else None)


@pytest.mark.parametrize(
    "name", ["a", "0", "sekisho-7d4b9c8f6-x2x9z", "gateway-0", "a.b.c", "1.2", "a--b", "a" * MAX_REPLICA_CHARS]
)
def test_a_replica_is_called_as_pods_are(name: str) -> None:
    assert check_replica(name) == ""
    rank = find_rank(replica_part(name))
    assert rank is not None
    assert rank.level == REPLICA_LEVEL


@pytest.mark.parametrize(
    "name", ["", "..", "../x", "a/b", "A", "a_b", "-a", "a" * (MAX_REPLICA_CHARS + 1), "a" * 100_000]
)
def test_a_name_that_no_pod_has_is_refused_with_the_mend(name: str) -> None:
    problem = check_replica(name)
    assert "is no name of a replica" in problem
    assert "leave it unset" in problem
    assert len(problem) < 400


def test_workers_come_by_their_numbers_and_then_replicas_by_their_names() -> None:
    names = ["replica-b", "worker-10", "replica-a", "worker-2"]
    ranks = sorted(rank for name in names if (rank := find_rank(name)))
    assert [rank.name for rank in ranks] == ["worker-2", "worker-10", "replica-a", "replica-b"]
    assert ranks[0].level == WORKER_LEVEL
