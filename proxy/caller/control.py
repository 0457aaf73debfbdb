# SPDX-License-Identifier: Apache-2.0
"""Chooses how a control rule is computed."""

from collections.abc import Mapping

from proxy.caller.holdings import Entity, Order, order_owners
from proxy.caller.multiplied import compute_multiplied
from proxy.caller.ownership import Controlled, Rule, compute_cascade


def compute_control(entities: Mapping[str, Entity], rule: Rule, order: Order | None = None) -> dict[str, Controlled]:
    """Apply a control rule to a whole register of entities.

    Args:
        entities: the register; every owner is in it.
        rule: the rule.
        order: of ``order_owners``, where several rules are applied to one register.
    """
    order = order or order_owners(entities)
    compute = compute_cascade if rule.propagation == "cascade" else compute_multiplied
    return compute(entities, order, rule)
