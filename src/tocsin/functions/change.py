"""How far the newest value is from the oldest."""

from tocsin.functions import Function

FUNCTION = Function(value=lambda window: window.last - window.first, ordered=True)
