"""How far the newest value has risen above the smallest."""

from tocsin.functions import Function

FUNCTION = Function(value=lambda window: window.last - window.min, ordered=True)
