"""The value below which a given part of the readings lies, interpolated linearly."""

from tocsin.functions import Function

FUNCTION = Function(
    value=lambda window: window.quantile(window.parameters[0]), coverage=0.9, parameters=1, whole_window=True
)
