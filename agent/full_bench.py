"""All the tools there are, and what joins their calls: the bench of every model but nano."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from agent.bench import Bench, Materials, approver, tool_view
from agent.checks import Checks
from agent.config import skills_folder
from agent.explore import Explore, Fork
from agent.hooks import Hooks
from agent.known_files import KnownFiles, TakeIn
from agent.memory import Memory
from agent.outputs import OUTPUTS, KeptOutputs
from agent.parts import Parts
from agent.past import Past
from agent.reach import workspace_of
from agent.recorder import Recorder
from agent.settings import VerifyConfig
from agent.spotless import Spotless
from agent.whereabouts import Whereabouts
from sandbox.base import Cancel, Sandbox, View
from sandbox.limits import MIB, Limits
from sandbox.workspace import Workspace
from tools.background import BackgroundBash
from tools.bash import Bash
from tools.editor import StrReplaceEditor
from tools.editor_forms import FOR_NANO, FULL, Form
from tools.finish import Finish
from tools.jobs import Jobs
from tools.outline import Outline
from tools.registry import Registry
from tools.run_tests import RunTests
from tools.runners import run_tests_once
from tools.search import Search, find_ripgrep
from tools.skill import Skill, find_skills
from tools.test_report import TestReport
from tools.todo import Todo

OUTPUT_BYTES = 4 * MIB
"""Of one command of the model: what it is not shown is kept in a file."""


@dataclass(frozen=True)
class FullBench:
    """Makes the bench; what several tools share is made once, when it is first asked for."""

    given: Materials

    def bench(self) -> Bench:
        """Return the parts, and what of them is used from outside."""
        return Bench(self.parts, self.checks, self.jobs, self.todo, self.past, self.files)

    @cached_property
    def parts(self) -> Parts:
        """All that a turn works with."""
        given, hooks, memory = self.given, self.hooks, self.memory
        return Parts(
            given.chat,
            self.tools,
            given.options,
            given.config,
            self.recorder,
            given.deadline_s,
            approve=approver(given.config, self.view),
            before_call=(hooks.before, TakeIn(self.files, self.known)),
            after_call=(
                self.outputs,
                Whereabouts(self.view),
                hooks.after,
                self.checks,
                memory,
                self.past,
            ),
            on_compacted=(memory.forget, self.editor.forget),
            opening=memory.opening,
            open_items=lambda: "\n".join(self.todo.open_items()),
        )

    # ---- what is seen

    @cached_property
    def outputs(self) -> KeptOutputs:
        """Where output goes that was too long for a result."""
        assert self.given.place.view.scratch is not None, "a workplace has one"
        return KeptOutputs(self.given.place.view.scratch.with_name(OUTPUTS))

    @cached_property
    def view(self) -> View:
        """What commands of the model see."""
        view = tool_view(self.given.place)
        return replace(view, read_only=(*view.read_only, self.outputs.folder))

    @cached_property
    def workspace(self) -> Workspace:
        """The files on disk, as commands have them."""
        return workspace_of(self.view)

    @cached_property
    def files(self) -> Workspace:
        """The files as the model views and edits them."""
        return self.given.reach.files(self.view, self.known)

    @cached_property
    def known(self) -> KnownFiles:
        """What the talk knows of them."""
        given = self.given
        return KnownFiles(given.session, given.place.checkpoint, lambda: not self.jobs.running())

    # ---- the tools

    @cached_property
    def tools(self) -> Registry:
        """The tools in the order the model sees them."""
        given, skills = self.given, find_skills(skills_folder())
        return Registry(
            [
                self._bash(),
                self.editor,
                self.search,
                self.outline,
                *([self._run_tests()] if given.place.command else []),
                self._explore(),
                self.todo,
                *([Skill(skills)] if skills else []),
                Finish(),
                *given.server_tools,
            ]
        )

    @cached_property
    def editor(self) -> StrReplaceEditor:
        """The editor of the main line; an exploration has its own."""
        return StrReplaceEditor(
            self.files,
            self._editor_form,
            step=lambda: self.given.session.num_steps,
            earlier=self.past.edits_of,
        )

    @property
    def _editor_form(self) -> Form:
        """What editors are called and offer."""
        return FULL if self.given.config.model.editor == "full" else FOR_NANO

    @cached_property
    def search(self) -> Search:
        """Looks for text."""
        return Search(self.workspace, self.given.place.sandbox, self.view, find_ripgrep(self.view))

    @cached_property
    def outline(self) -> Outline:
        """Looks for symbols."""
        return Outline(self.workspace, count_tokens=self.given.chat.count_tokens)

    @cached_property
    def jobs(self) -> Jobs:
        """The commands in the background."""
        return Jobs(self.given.place.sandbox, self.view, self._command_limits)

    @cached_property
    def todo(self) -> Todo:
        """The list of what is to be done."""
        return Todo()

    def _bash(self) -> BackgroundBash:
        shown = self.given.reach.commands(self.given.place.sandbox)
        bash = Bash(shown, self.view, self._command_limits)
        return BackgroundBash(bash, self.jobs)

    def _run_tests(self) -> RunTests:
        place = self.given.place
        limits = replace(place.test_limits, output_bytes=OUTPUT_BYTES)
        shown = self.given.reach.commands(self.spotless)
        return RunTests(place.command, place.environment, place.view, shown, limits, is_full=True)

    def _explore(self) -> Explore:
        given = self.given
        reading = Registry(
            [StrReplaceEditor(self.files, self._editor_form), self.search, self.outline]
        )
        return Explore(
            Fork(
                given.session,
                given.chat,
                given.options,
                given.config,
                lambda: self.parts.specs,
                reading,
                self.workspace,
            )
        )

    @property
    def _command_limits(self) -> Limits:
        return replace(self.given.place.command_limits, output_bytes=OUTPUT_BYTES)

    # ---- what joins their calls

    @cached_property
    def spotless(self) -> Sandbox:
        """Where tests run: what they write stays only where somebody may need it."""
        place = self.given.place
        if not place.is_copy:
            return place.sandbox
        return Spotless(place.sandbox, place.checkpoint, lambda: bool(self.jobs.running()))

    @cached_property
    def recorder(self) -> Recorder:
        """Names the files after each call."""
        return Recorder(self.given.place.checkpoint, self.given.place.base)

    @cached_property
    def checks(self) -> Checks:
        """Looks at edits, and at the end of the work."""
        return Checks(
            self.given.place.command,
            self.workspace,
            self._some_tests,
            lambda: self.recorder(self.given.session.checkpoint),
            self.todo.open_items,
            self._verify,
        )

    @property
    def _verify(self) -> VerifyConfig:
        """Without what cannot be had: tests where none are known, a repair where all is planned."""
        config = self.given.config
        verify = config.verify if self.given.place.command else replace(config.verify, tests=False)
        if config.approval.mode != "plan":
            return verify
        return replace(verify, finish_tests=False, finish_todo=False)

    @cached_property
    def memory(self) -> Memory:
        """The notes that the repository has for agents."""
        return Memory(Workspace(self.view.source, self.view.workspace), self.view.folder)

    @cached_property
    def past(self) -> Past:
        """What an earlier process knew."""
        return Past(self.given.place.checkpoint, self.workspace, self.jobs)

    @cached_property
    def hooks(self) -> Hooks:
        """The user's own commands around calls."""
        place, config = self.given.place, self.given.config.hooks
        return Hooks(config, place.sandbox, self.view, place.command_limits, self.editor)

    def _some_tests(self, ids: Sequence[str], limit_s: float, cancel: Cancel) -> TestReport:
        place = self.given.place
        limits = place.test_limits.until(min(self.given.deadline_s, time.monotonic() + limit_s))
        return run_tests_once(
            place.command, place.environment, place.view, self.spotless, limits, cancel, ids
        )
