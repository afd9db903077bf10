"""How many readings there are."""

from tocsin.functions import Function

FUNCTION = Function(value=lambda window: window.count)
