"""The oldest value."""

from tocsin.functions import Function

FUNCTION = Function(value=lambda window: window.first, ordered=True)
