"""What can go wrong in a tool.

ToolFailed      told to the model as the result of its call: what to try instead
ProjectError    told to the user: no tests found, command missing (exit code 2)
"""


class ToolFailed(Exception):
    """A call that did not work; the text tells the model what to try."""


class ProjectError(Exception):
    """The project cannot be worked on as it is; the text tells the user what to do."""

    exit_code = 2
