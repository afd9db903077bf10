"""The largest value."""

from tocsin.functions import Function

FUNCTION = Function(value=lambda window: window.max)
