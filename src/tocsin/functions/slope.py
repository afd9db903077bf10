"""How fast the values climb each second: the line of least squares."""

from tocsin.functions import Function

FUNCTION = Function(value=lambda window: window.covariance / window.time_moment2, coverage=0.9, ordered=True)
