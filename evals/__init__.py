"""How good and how fast: tasks, the nano model, benchmarks."""
