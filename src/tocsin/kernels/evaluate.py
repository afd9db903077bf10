"""The machine that runs rules: a short program over columns, a block of evaluations at a time.

A register is a column of float64.  Unknown is NaN, and whatever is not finite is unknown; a truth
is 1 or 0.  The first registers are the columns that the windows gave.
"""

import numpy as np

from tocsin.kernels import compiled

BLOCK = 1024
"""Evaluations that go through the whole program together, so that registers stay in cache."""

OPERATIONS = (
    "+", "-", "*", "/", "%", "^", "negate", "sqrt",
    "==", "!=", ">", "<", ">=", "<=", "not", "and", "or", "unless", "covered",
)  # fmt: skip
(
    ADD, SUBTRACT, MULTIPLY, DIVIDE, MODULO, POWER, NEGATE, SQRT,
    EQUAL, UNEQUAL, ABOVE, BELOW, AT_LEAST, AT_MOST, NOT, AND, OR, UNLESS, COVERED,
) = range(len(OPERATIONS))  # fmt: skip


@compiled
def run(program, inputs, results, registers):  # type: ignore[no-untyped-def]
    """Runs `program` (rows: operation, left, right, target) over `inputs` (columns × events).

    Operands count the inputs first, then the results (rows × events), then the registers (rows ×
    BLOCK), which are scratch but for the constants that the caller has put there.  A right side
    below 0 is none.
    """
    columns, answers = inputs.shape[0], inputs.shape[0] + results.shape[0]
    count = inputs.shape[1]
    for low in range(0, count, BLOCK):
        n = min(BLOCK, count - low)
        for step in range(len(program)):
            operation, left, right, target = program[step]
            x = (
                inputs[left, low : low + n]
                if left < columns
                else (results[left - columns, low : low + n] if left < answers else registers[left - answers, :n])
            )
            y = x
            if right >= 0:
                y = (
                    inputs[right, low : low + n]
                    if right < columns
                    else (
                        results[right - columns, low : low + n] if right < answers else registers[right - answers, :n]
                    )
                )
            z = results[target - columns, low : low + n] if target < answers else registers[target - answers, :n]
            _apply(operation, x, y, z, n)


@compiled
def _apply(operation, x, y, z, n):  # type: ignore[no-untyped-def]
    if operation <= SQRT:
        _calculate(operation, x, y, z, n)
    elif operation <= AT_MOST:
        _compare(operation, x, y, z, n)
    else:
        _decide(operation, x, y, z, n)


@compiled
def _calculate(operation, x, y, z, n):  # type: ignore[no-untyped-def]
    """Arithmetic; adding a product with 0 turns infinity into NaN, and nothing else."""
    if operation == ADD:
        for i in range(n):
            z[i] = x[i] + y[i]
    elif operation == SUBTRACT:
        for i in range(n):
            z[i] = x[i] - y[i]
    elif operation == MULTIPLY:
        for i in range(n):
            z[i] = x[i] * y[i]
    elif operation == DIVIDE:
        for i in range(n):
            z[i] = x[i] / y[i]
    elif operation == MODULO:
        for i in range(n):
            z[i] = np.fmod(x[i], y[i])
    elif operation == POWER:
        for i in range(n):
            z[i] = x[i] ** y[i] if x[i] == x[i] and y[i] == y[i] else np.nan
    elif operation == NEGATE:
        for i in range(n):
            z[i] = -x[i]
    elif operation == SQRT:
        for i in range(n):
            z[i] = np.sqrt(x[i])
    for i in range(n):
        z[i] += z[i] * 0.0


@compiled
def _compare(operation, x, y, z, n):  # type: ignore[no-untyped-def]
    """Comparisons; a product with 0 is NaN where a side is unknown, else 0."""
    if operation == EQUAL:
        for i in range(n):
            z[i] = (1.0 if x[i] == y[i] else 0.0) + x[i] * 0.0 + y[i] * 0.0
    elif operation == UNEQUAL:
        for i in range(n):
            z[i] = (1.0 if x[i] != y[i] else 0.0) + x[i] * 0.0 + y[i] * 0.0
    elif operation == ABOVE:
        for i in range(n):
            z[i] = (1.0 if x[i] > y[i] else 0.0) + x[i] * 0.0 + y[i] * 0.0
    elif operation == BELOW:
        for i in range(n):
            z[i] = (1.0 if x[i] < y[i] else 0.0) + x[i] * 0.0 + y[i] * 0.0
    elif operation == AT_LEAST:
        for i in range(n):
            z[i] = (1.0 if x[i] >= y[i] else 0.0) + x[i] * 0.0 + y[i] * 0.0
    else:
        for i in range(n):
            z[i] = (1.0 if x[i] <= y[i] else 0.0) + x[i] * 0.0 + y[i] * 0.0


@compiled
def _decide(operation, x, y, z, n):  # type: ignore[no-untyped-def]
    """Kleene's three-valued logic; `covered` lets a value through where y is true."""
    if operation == NOT:
        for i in range(n):
            z[i] = 1.0 - x[i]
    elif operation == AND:
        for i in range(n):
            z[i] = 0.0 if (x[i] == 0.0) | (y[i] == 0.0) else x[i] * y[i]
    elif operation == OR:
        for i in range(n):
            z[i] = 1.0 if (x[i] == 1.0) | (y[i] == 1.0) else x[i] + y[i]
    elif operation == UNLESS:
        for i in range(n):
            z[i] = 0.0 if y[i] == 1.0 else x[i]
    else:
        for i in range(n):
            z[i] = x[i] if y[i] == 1.0 else np.nan
