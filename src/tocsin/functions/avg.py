"""The mean of the values."""

from tocsin.functions import Function

FUNCTION = Function(value=lambda window: window.sum / window.count, coverage=0.9)
