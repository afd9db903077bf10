"""All values added up."""

from tocsin.functions import Function

FUNCTION = Function(value=lambda window: window.sum)
