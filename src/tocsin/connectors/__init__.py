"""Connectors: the systems that readings come from, one file a system.

A connector gives records, undecoded bytes with their place, and knows nothing of what is in them.
"""
