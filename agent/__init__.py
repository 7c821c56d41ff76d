"""Decides: what to ask, what to allow, when to stop."""
