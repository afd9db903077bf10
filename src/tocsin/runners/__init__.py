"""Runners: who owns the loop, one file each."""
