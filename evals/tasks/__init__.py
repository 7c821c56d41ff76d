"""The suites: where tasks come from, and how what an agent left is graded."""
