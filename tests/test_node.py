"""Trees of nodes: long chains of conditions become trees of little depth and mean the same."""

from __future__ import annotations

from itertools import product

from tocsin.node import And, Compare, Newest, Node, Not, Number, Or, Selector, Unless, balanced, parts, walk

CHAINS: tuple[type[And | Or | Unless], ...] = (And, Or, Unless)
CONDITIONS = [Compare(">", Newest(Selector(name)), Number(0)) for name in "abcde"]
Kleene = bool | None


def truth(node: Node, known: dict[Node, Kleene]) -> Kleene:
    """Kleene logic, straight from its tables; None is unknown."""
    if node in known:
        return known[node]
    values = [truth(part, known) for part in parts(node)]
    match node:
        case Not():
            return None if values[0] is None else not values[0]
        case Unless():
            values[1] = values[1] is not True
    if isinstance(node, Or):
        return True if True in values else None if None in values else False
    return False if False in values else None if None in values else True


def chain(kinds: tuple[type[And | Or | Unless], ...]) -> Node:
    node: Node = CONDITIONS[0]
    for kind, condition in zip(kinds, CONDITIONS[1:], strict=True):
        node = kind(node, condition)
    return node


def depth(node: Node) -> int:
    return 1 + max((depth(part) for part in parts(node)), default=0)


def test_a_balanced_chain_means_the_same_whatever_its_conditions_are() -> None:
    for kinds in product(CHAINS, repeat=3):
        node = chain((*kinds, And))
        for values in product((True, False, None), repeat=5):
            known: dict[Node, Kleene] = dict(zip(CONDITIONS, values, strict=True))
            assert truth(balanced(node, 9), known) == truth(node, known)


def test_its_conditions_stay_in_order() -> None:
    for kinds in product(CHAINS, repeat=4):
        found = [node for node in walk(balanced(chain(kinds), 9)) if isinstance(node, Compare)]
        assert found == CONDITIONS


def test_a_thousand_conditions_are_a_tree_of_depth_fourteen() -> None:
    """999 conditions after the first fit into a tree of ten levels; and the chain, the comparison and its sides."""
    for kind in CHAINS:
        node: Node = CONDITIONS[0]
        for _ in range(999):
            node = kind(node, CONDITIONS[1])
        assert depth(balanced(Not(node), 200)) == 1 + 1 + 10 + 1 + 1
