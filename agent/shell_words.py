"""Reads a shell script as the commands it is made of, to label it; it never bounds what one does.

What a command can do is bounded by the sandbox. This only says which rule speaks of a script, and
where it cannot tell (a program named by a variable, a syntax error) it says so.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

from tools.command_words import Argv


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


READERS = _listed(
    "[ basename cat cmp cut diff dirname du echo egrep false fgrep grep head ls nl printf"
    " pwd readlink realpath stat tail test tr true type wc which"
)
"""Programs that only read, whatever their options."""
GIT_READERS = _listed("blame diff grep log ls-files ls-tree rev-parse shortlog show status")
GIT_DOES = ("-O", "--open-files-in-pager", "--ext-diff", "--textconv", "--output")
"""Options of these that start a program or write a file."""
FIND_DOES = _listed("-delete -exec -execdir -fls -fprint -fprint0 -fprintf -ok -okdir")
SYSTEM = ("/bin/", "/usr/bin/")
"""Where a program of such a name is the one that is meant."""
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
"""Characters that a shell and the parser may take for different things."""
SETS_OR_RUNS = re.compile(rb"\$\{!?\w+(?:\[[^\]]*\])?(?:@|:?=)")
"""`${x:=word}` sets a variable; `${x@P}` runs what stands in it."""
PLAIN = frozenset({"word", "number"})
DYNAMIC = _listed("command_substitution process_substitution expansion simple_expansion")


@dataclass(frozen=True)
class Script:
    """What a shell script runs."""

    commands: tuple[Argv, ...]
    """Every simple command, those inside of substitutions and groups too."""
    is_clear: bool
    """False where some command cannot be told from the text."""
    writes: bool
    """Whether output is sent to a file."""
    assigns: bool
    """Whether a variable is set, which may name a program to be run."""

    @property
    def only_reads(self) -> bool:
        """Whether nothing in it is known to change anything."""
        is_plain = self.is_clear and not self.writes and not self.assigns
        return is_plain and all(map(_reads, self.commands))


def read_script(text: str) -> Script:
    """Read a script."""
    root = _parser().parse(text.encode("utf-8", "replace")).root_node
    commands: list[Argv] = []
    is_clear = not root.has_error and not CONTROL.search(text)
    writes, assigns = False, False
    for node in _nodes(root):
        if node.type == "command":
            words = _words(node)
            is_clear &= bool(words)
            commands += [words] if words else []
        elif node.type == "file_redirect":
            writes |= _writes(node)
        elif node.type == "variable_assignment":
            assigns = True
        elif node.type in ("function_definition", "declaration_command"):
            is_clear = False  # a word may then mean something else
        elif node.type == "expansion" and SETS_OR_RUNS.match(node.text or b""):
            is_clear = False
    return Script(tuple(commands), is_clear, writes, assigns)


@cache
def _parser() -> Parser:
    return Parser(Language(tree_sitter_bash.language()))


def _nodes(root: Node) -> Iterator[Node]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += reversed(node.named_children)


def _words(command: Node) -> Argv:
    """The words of a simple command without its assignments; none if the program is not plain."""
    words: list[str] = []
    for child in command.named_children:
        if child.type == "command_name":
            words.append(_text(child.named_children[0]) if child.named_children else "")
            if any(node.type in DYNAMIC for node in _nodes(child)):
                return ()
        elif words and child.type not in ("file_redirect", "herestring_redirect"):
            words.append(_text(child))
    return tuple(words) if words and words[0] else ()


def _text(node: Node) -> str:
    """A word without its quotes, as far as they can be taken off without running anything."""
    text = (node.text or b"").decode("utf-8", "replace")
    if node.type in ("string", "raw_string") and len(text) >= 2:
        return text[1:-1]
    return text.replace("\\", "") if node.type in PLAIN else text


def _writes(redirect: Node) -> bool:
    signs = {child.type for child in redirect.children if not child.is_named}
    target = redirect.child_by_field_name("destination")
    goes_nowhere = target is not None and (target.text in (b"/dev/null", b"1", b"2"))
    return bool(signs & {">", ">>", "&>", "&>>", ">|", ">&"}) and not goes_nowhere


def _reads(words: Argv) -> bool:
    folder, slash, program = words[0].rpartition("/")
    if slash and f"{folder}/" not in SYSTEM:
        return False  # the repository's own
    if program in ("test", "["):  # the index of an array in `-v` is run
        return not any("$(" in word or "`" in word for word in words)
    if program == "printf":
        return not any(word.startswith("-v") for word in words)
    if program == "git":
        is_reader = len(words) > 1 and words[1] in GIT_READERS
        return is_reader and not any(word.startswith(GIT_DOES) for word in words)
    if program == "find":
        return not FIND_DOES.intersection(words)
    return program in READERS
