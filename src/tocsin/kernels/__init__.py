"""The compiled inner loops: pure functions on arrays, no object of ours among their arguments.

They are compiled on first use (some seconds, once) and cached beside the code, or in the user's
cache folder where that cannot be written.  None of them holds the interpreter lock.
"""
