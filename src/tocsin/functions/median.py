"""The middle value: half of the readings lie below it."""

from tocsin.functions import Function

FUNCTION = Function(value=lambda window: window.quantile(0.5), coverage=0.9, whole_window=True)
