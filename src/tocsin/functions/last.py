"""The newest value."""

from tocsin.functions import Function

FUNCTION = Function(value=lambda window: window.last, ordered=True)
