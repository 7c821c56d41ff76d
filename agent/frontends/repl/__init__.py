"""The interactive front end: what a person types at the bottom, what happens above it."""
