"""Who can work on the tasks of a run, by the name in its conditions."""

from evals.conditions import AGENT, Conditions
from evals.solver import Solver


def open_solver(conditions: Conditions) -> Solver:
    """Return who works on the tasks of a run.

    Raises:
        ModelUnavailable: the model cannot be had.
    """
    if conditions.solver != AGENT:
        from evals.script_solver import ScriptSolver

        return ScriptSolver(conditions.solver)
    from evals.fix_solver import open_fix_solver  # the agent, and with nano torch

    return open_fix_solver(conditions)
