"""How far the newest value has fallen below the largest."""

from tocsin.functions import Function

FUNCTION = Function(value=lambda window: window.max - window.last, ordered=True)
