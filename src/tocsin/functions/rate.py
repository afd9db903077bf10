"""How fast a counter grows each second; a counter that starts anew is allowed for."""

from tocsin.functions import Function

FUNCTION = Function(value=lambda window: (window.last - window.first + window.resets) / window.span, ordered=True)
