"""How far apart the largest and the smallest value are."""

from tocsin.functions import Function

FUNCTION = Function(value=lambda window: window.max - window.min, coverage=0.9)
