"""Rules a person writes about calls: which tool, and which commands or paths; decides nothing.

bash: npm test       every command that begins with these words
edit: src/*          changes of files whose path fits; `*` stands for anything, `/` too
search               every call of that tool
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from inference.messages import ToolCall
from tools.command_words import Argv

EDITOR = "str_replace_editor"
EDIT = "edit"
"""What a rule calls the editor where it changes a file."""


@dataclass(frozen=True)
class Rule:
    """One line of a person's settings."""

    tool: str
    pattern: str = ""
    """Argv for bash, a glob for edit; empty for every call of the tool."""

    @classmethod
    def parse(cls, text: str) -> "Rule":
        """Read `TOOL` or `TOOL: PATTERN`.

        Raises:
            ValueError: it is neither.
        """
        tool, colon, pattern = (part.strip() for part in text.partition(":"))
        if not tool or " " in tool or (colon and not pattern):
            raise ValueError(
                f"{text!r} is no rule; write `bash: npm test`, `edit: src/*` or a tool"
            )
        if pattern and tool not in ("bash", EDIT):
            raise ValueError(f"{text!r}: only bash and edit take a pattern")
        return cls(tool, pattern)

    def covers_command(self, words: Argv) -> bool:
        """Whether it speaks of a command."""
        wanted = tuple(self.pattern.split())
        return self.tool == "bash" and words[: len(wanted)] == wanted

    def covers_path(self, path: str) -> bool:
        """Whether it speaks of a change of this file, named from the workspace."""
        return self.tool in (EDIT, EDITOR) and fnmatchcase(path, self.pattern or "*")


def covering(rules: Iterable[str], tool: str) -> tuple[Rule, ...]:
    """Return the rules that speak of a tool."""
    parsed = map(Rule.parse, rules)
    names = (tool, EDIT) if tool == EDITOR else (tool,)
    return tuple(rule for rule in parsed if rule.tool in names)


def changes_file(call: ToolCall) -> bool:
    """Whether it is the editor's, and no view."""
    return call.name == EDITOR and call.arguments.get("command") != "view"
