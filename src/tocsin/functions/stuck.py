"""True while all values are equal and there are at least two."""

from tocsin.functions import Function

FUNCTION = Function(
    truth=lambda window: window.max.equals(window.min) & (window.count >= 2.0), coverage=0.9, ordered=True
)
