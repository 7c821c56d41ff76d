"""Benchmarks: each file says what it asks and how."""
