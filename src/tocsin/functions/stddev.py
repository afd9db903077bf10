"""How far the values stray from their mean: the population's standard deviation."""

from tocsin.functions import Function

FUNCTION = Function(value=lambda window: (window.moment2 / window.count).sqrt(), coverage=0.9)
