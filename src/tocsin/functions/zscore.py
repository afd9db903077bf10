"""How many standard deviations the newest value lies from the mean."""

from tocsin.functions import Function

FUNCTION = Function(
    value=lambda window: window.deviation / (window.moment2 / window.count).sqrt(),
    coverage=0.9,
    ordered=True,
)
