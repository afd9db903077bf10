"""True once nothing has been heard for that long; its value is the seconds of silence."""

from tocsin.functions import Function

FUNCTION = Function(
    value=lambda window: window.silence, truth=lambda window: window.silence >= window.length, coverage=None
)
