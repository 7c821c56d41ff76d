"""`skill`: instructions a person keeps in folders, listed by name and read when they are needed.

A skill is a folder with a SKILL.md. Its name is the folder's, its description the line
`description:` at the top of the file. Only folders of the user's own configuration are looked at.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.base import Cancel, never
from tools.base import Arguments, ToolResult
from tools.errors import ToolFailed
from tools.truncate import clean, cut_middle

FILE = "SKILL.md"
MAX_SKILLS = 50
MAX_CHARACTERS = 16_000
MAX_FILE_BYTES = 256 * 1024
DESCRIPTION = re.compile(r"(?m)^description:\s*[\"']?(.+?)[\"']?\s*$")


@dataclass(frozen=True)
class SkillFolder:
    """One skill, as it is listed."""

    name: str
    description: str
    folder: Path


def find_skills(root: Path) -> tuple[SkillFolder, ...]:
    """List the skills in a folder, by name; none if there is no such folder."""
    try:
        folders = sorted(path for path in root.iterdir() if (path / FILE).is_file())
    except OSError:
        return ()
    return tuple(
        SkillFolder(path.name, _description(path / FILE), path) for path in folders[:MAX_SKILLS]
    )


class Skill:
    """Reads one of the skills that it lists."""

    name = "skill"

    def __init__(self, skills: Sequence[SkillFolder]) -> None:
        self._skills = {skill.name: skill for skill in skills}
        listed = " ".join(f"{skill.name}: {skill.description}" for skill in skills)
        self.description = f"Read instructions the user keeps for a kind of work. {listed}".strip()
        self.parameters: Mapping[str, Any] = {
            "type": "object",
            "properties": {
                "name": {"type": "string", "enum": list(self._skills)},
                "file": {"type": "string", "description": "Another file of the skill."},
            },
            "required": ["name"],
        }

    def run(self, arguments: Arguments, cancel: Cancel = never) -> ToolResult:
        """Give the instructions, or another file of the skill.

        Raises:
            ToolFailed: there is no such skill or file.
        """
        skill = self._skills.get(arguments["name"])
        if skill is None:
            raise ToolFailed(f"name must be one of {', '.join(self._skills)}.")
        file = arguments.get("file", FILE)
        names = _files(skill.folder)
        if file not in names:
            raise ToolFailed(f"{skill.name} has no file {file}; it has {', '.join(names)}.")
        text = cut_middle(clean(_read(skill.folder / file)), MAX_CHARACTERS)
        others = [name for name in names if name not in (file, FILE)]
        more = f"\n\n[Other files: {', '.join(others)}]" if others and file == FILE else ""
        return ToolResult(text + more, f"read skill {skill.name}")


def _files(folder: Path) -> list[str]:
    """The files of a skill, named from its folder; no links."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    )


def _description(file: Path) -> str:
    found = DESCRIPTION.search(_read(file)[:MAX_CHARACTERS])
    return clean(found[1])[:200] if found else ""


def _read(file: Path) -> str:
    with file.open("rb") as opened:
        return opened.read(MAX_FILE_BYTES).decode("utf-8", "replace")
