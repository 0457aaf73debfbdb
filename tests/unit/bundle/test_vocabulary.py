# SPDX-License-Identifier: Apache-2.0
"""What rules can speak of: everything that is declared, and anything where a register could not be read whole."""

from pathlib import Path

from proxy.bundle.apis import ApiEntry
from proxy.bundle.gather import Registers
from proxy.bundle.vocabulary import find_vouchers, make_vocabulary
from proxy.caller.affiliates import ControlRuleEntry
from proxy.caller.issuers import IssuerEntry
from proxy.policy.attributes import Domain, Vocabulary
from tests.support.bundle_folder import SMALL, edited, write_bundle


def gather(folder: Path, *edits: tuple[str, str, str]) -> Registers:
    registers = Registers(write_bundle(folder, edited(*edits) if edits else SMALL))
    registers.gather()
    return registers


def vocabulary_of(registers: Registers) -> Vocabulary:
    return make_vocabulary(
        registers,
        registers.take("issuers", IssuerEntry),
        registers.take("apis", ApiEntry),
        registers.take("control_rules", ControlRuleEntry),
    )


def test_every_declared_id_is_a_word(tmp_path: Path) -> None:
    vocabulary = vocabulary_of(gather(tmp_path))
    assert {"home-co", "branch"} <= vocabulary.values(Domain.AFFILIATES)
    assert vocabulary.values(Domain.ISSUERS) == {"corp"}
    assert vocabulary.find_set("china") == frozenset({"CN", "HK"})
    assert "majority" in vocabulary.control_rules
    assert vocabulary.find_set("nowhere") is None


def test_authorities_over_certificates_say_who_a_caller_is_too(tmp_path: Path) -> None:
    authority = "certificate_authorities:\n  - {id: mesh, operated_by: home-co}\nissuers:\n"
    registers = gather(
        tmp_path,
        ("bundle.yaml", "trusted_proxies]", "trusted_proxies, certificate_authorities]"),
        ("parties.yaml", "issuers:\n", authority),
    )
    assert find_vouchers(registers) == {"corp", "mesh"}


def test_of_a_register_that_cannot_be_read_anything_is_a_word(tmp_path: Path) -> None:
    files = {**SMALL, "parties.yaml": "issuers: ["}
    registers = Registers(write_bundle(tmp_path, files))
    registers.gather()
    vocabulary = vocabulary_of(registers)
    assert "whatever" in find_vouchers(registers)
    assert "whatever" in vocabulary.values(Domain.ISSUERS)
    assert vocabulary.find_set("whatever") == frozenset()
