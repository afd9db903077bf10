"""Rules to a program: what to ask of which window, and what to work out from it.

Rules that are evaluated at the same instants share one program, and whatever two of them have in
common is worked out once.  The program's inputs are columns: the summaries of windows and the
per-key limits; its outputs are, for each rule, its truth, its clear and its value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tocsin import functions
from tocsin.functions import Term
from tocsin.instant import SECOND
from tocsin.kernels import evaluate
from tocsin.node import (
    And,
    Arithmetic,
    Call,
    Compare,
    Limit,
    Negate,
    Newest,
    Node,
    Not,
    Number,
    Or,
    Selector,
    Unless,
)
from tocsin.rule import Rule
from tocsin.state import Scratch
from tocsin.window import Wanted

Columns = npt.NDArray[np.float64]
OPERATION = {name: code for code, name in enumerate(evaluate.OPERATIONS)}


@dataclass(frozen=True, slots=True)
class Operand:
    """An input column, or a register."""

    is_input: bool
    place: int


@dataclass(frozen=True, slots=True)
class Answers:
    """Which operands are a rule's, inputs first, then results; -1 where it has none."""

    truth: int
    clear: int
    value: int


@dataclass
class Plan:
    """The program of rules that are evaluated together, and the inputs that it needs."""

    wanted: dict[Selector, Wanted] = field(default_factory=dict)
    limits: dict[tuple[str, float | None], int] = field(default_factory=dict)
    answers: list[Answers] = field(default_factory=list)
    inputs: int = 0
    results: int = 0
    program: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 4), np.int64))
    registers: Columns = field(default_factory=lambda: np.empty((0, evaluate.BLOCK)))
    _inputs: Scratch = field(default_factory=Scratch)
    _results: Scratch = field(default_factory=Scratch)

    def new_inputs(self, evaluations: int) -> Columns:
        """Columns for so many evaluations, to be filled; good until the next call."""
        return self._inputs.shaped(self.inputs, evaluations)

    def run(self, inputs: Columns) -> list[npt.NDArray[np.float64]]:
        """The operands by which `answers` speaks: the inputs, then the results, a column each.

        They are good until the next call.
        """
        results = self._results.shaped(self.results, inputs.shape[1])
        evaluate.run(self.program, inputs, results, self.registers)
        return [*inputs, *results]


def plan(rules: Sequence[Rule]) -> Plan:
    """The plan of rules that share their instants of evaluation."""
    return _Planner().plan(rules)


class _Planner:
    def __init__(self) -> None:
        self.made = Plan()
        self.steps: list[tuple[str, Operand, Operand | None, Operand]] = []
        self.constants: dict[Operand, float] = {}
        self.known: dict[object, Operand] = {}

    def plan(self, rules: Sequence[Rule]) -> Plan:
        answers = [
            (
                None if rule.levels else self._node(rule.expr, rule),
                None if rule.clear is None else self._node(rule.clear, rule),
                None if rule.value is None else self._reported(rule.value, rule),
            )
            for rule in rules
        ]
        self._assemble(answers)
        return self.made

    def _node(self, node: Node, rule: Rule) -> Operand:
        match node:
            case Number(value):
                return self._constant(value)
            case Limit(label, default):
                return self._limit(label, default)
            case Newest(selector):
                return self._newest(selector)
            case Call():
                return self._call(node, rule, as_condition=functions.load(node.function).is_condition)
            case Negate(operand):
                return self._step("negate", self._node(operand, rule))
            case Not(operand):
                return self._step("not", self._node(operand, rule))
            case Arithmetic(op, left, right) | Compare(op, left, right):
                return self._step(op, self._node(left, rule), self._node(right, rule))
            case And(left, right) | Or(left, right) | Unless(left, right):
                return self._step(type(node).__name__.lower(), self._node(left, rule), self._node(right, rule))
        raise TypeError(f"a rule holds {node!r}, which no plan knows")

    def _reported(self, node: Node, rule: Rule) -> Operand:
        """A rule's value: a number even where it stands as a condition, as the silence of `missing`."""
        return self._call(node, rule, as_condition=False) if isinstance(node, Call) else self._node(node, rule)

    def _call(self, node: Call, rule: Rule, *, as_condition: bool) -> Operand:
        function = functions.load(node.function)
        give = function.truth if as_condition else function.value
        if give is None:
            raise TypeError(f"{node.function} has no {'condition' if as_condition else 'value'}")
        result = self._term(give(functions.Window(node.parameters)), node)
        least = function.coverage if rule.min_coverage is None else rule.min_coverage
        if function.coverage is None or least is None or least <= 0:
            return result
        coverage = self._summary(node, "coverage")
        return self._step("covered", result, self._step(">=", coverage, self._constant(least)))

    def _term(self, term: Term | float | str, node: Call) -> Operand:
        if not isinstance(term, Term):
            return self._constant(float(term))
        if term.op == "summary":
            return self._summary(node, str(term.parts[0]))
        if term.op == "silence":
            return self._silence(node)
        if term.op == "length":
            return self._constant(node.window / SECOND)
        if term.op == "quantile":
            return self._quantile(node, float(str(term.parts[0])))
        return self._step(term.op, *(self._term(part, node) for part in term.parts))

    def _wanted(self, selector: Selector) -> Wanted:
        return self.made.wanted.setdefault(selector, Wanted())

    def _input(self) -> int:
        self.made.inputs += 1
        return self.made.inputs - 1

    def _summary(self, node: Call, summary: str) -> Operand:
        columns = self._wanted(node.selector).windows.setdefault(node.window, {})
        if summary not in columns:
            columns[summary] = self._input()
        return Operand(True, columns[summary])

    def _quantile(self, node: Call, q: float) -> Operand:
        columns = self._wanted(node.selector).quantiles
        if (node.window, q) not in columns:
            columns[node.window, q] = self._input()
        return Operand(True, columns[node.window, q])

    def _newest(self, selector: Selector) -> Operand:
        wanted = self._wanted(selector)
        if wanted.newest < 0:
            wanted.newest = self._input()
        return Operand(True, wanted.newest)

    def _silence(self, node: Call) -> Operand:
        wanted = self._wanted(node.selector)
        if wanted.silence < 0:
            wanted.silence = self._input()
        return Operand(True, wanted.silence)

    def _limit(self, label: str, default: float | None) -> Operand:
        if (label, default) not in self.made.limits:
            self.made.limits[label, default] = self._input()
        return Operand(True, self.made.limits[label, default])

    def _constant(self, value: float) -> Operand:
        constant = self._once(("constant", value))
        self.constants[constant] = value
        return constant

    def _step(self, op: str, left: Operand, right: Operand | None = None) -> Operand:
        known = (op, left, right) in self.known
        target = self._once((op, left, right))
        if not known:
            self.steps.append((op, left, right, target))
        return target

    def _once(self, known_as: object) -> Operand:
        return self.known.setdefault(known_as, Operand(False, len(self.known)))

    def _assemble(self, answers: Sequence[tuple[Operand | None, ...]]) -> None:
        """Numbers the operands: inputs first, then what is asked for, then what is only on the way."""
        asked = {operand: None for answer in answers for operand in answer if operand and not operand.is_input}
        others = [operand for operand in self.known.values() if operand not in asked]
        place = {operand: self.made.inputs + number for number, operand in enumerate([*asked, *others])}

        def number(operand: Operand | None) -> int:
            if operand is None:
                return -1
            return operand.place if operand.is_input else place[operand]

        steps = [(OPERATION[op], number(left), number(right), number(target)) for op, left, right, target in self.steps]
        self.made.program = np.array(steps, np.int64).reshape(-1, 4)
        self.made.results = len(asked)
        self.made.registers = np.empty((len(others), evaluate.BLOCK))
        for register, operand in enumerate(others):
            self.made.registers[register] = self.constants.get(operand, np.nan)
        self.made.answers = [Answers(*map(number, answer)) for answer in answers]
