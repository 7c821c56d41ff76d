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
    "basename cat cmp cut diff dirname du echo egrep false fgrep grep head ls nl"
    " pwd readlink realpath stat tail tr true type wc which"
)
"""Programs that only read, whatever their options."""
CAREFUL = _listed("find git printf test")
"""Programs that only read by the words they are given, so every word must be plain to see."""
GIT_READERS = _listed("blame diff grep log ls-files ls-tree rev-parse shortlog show status")
GIT_OPTIONS = _listed(
    "-- --abbrev-ref --after --all --author --before --branch --cached --color --count --date"
    " --decorate --exclude-standard --files-with-matches --first-parent --follow --format"
    " --graph --grep --ignore-case --invert-grep --line-number --max-count --merges --name-only"
    " --name-status --no-color --no-merges --no-patch --numstat --oneline --others --patch"
    " --porcelain --pretty --reverse --short --shortstat --show-toplevel --since --staged --stat"
    " --summary --unified --until --untracked-files --verify --word-diff --word-regexp"
)
"""Options of these that only read; git takes the beginning of any other for all of it."""
GIT_SHORT = re.compile(r"-[^-O][^O]*")
"""`-O` starts a pager, also behind other letters."""
FIND_DOES = _listed("-delete -exec -execdir -fls -fprint -fprint0 -fprintf -ok -okdir")
SYSTEM = ("/bin/", "/usr/bin/")
"""Where a program of such a name is the one that is meant."""
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
"""Characters that a shell and the parser may take for different things."""
CLEAR = _listed(
    "ansi_c_string case_item case_statement command command_name command_substitution comment"
    " compound_statement concatenation do_group elif_clause else_clause expansion file_descriptor"
    " file_redirect for_statement heredoc_body heredoc_content heredoc_end heredoc_redirect"
    " heredoc_start herestring_redirect if_statement list negated_command number pipeline"
    " process_substitution program raw_string redirected_statement simple_expansion"
    " special_variable_name string string_content subshell test_command variable_assignment"
    " variable_name while_statement word"
)
"""What a script may be made of; arithmetic runs what it finds in a variable, `unset` is a command,
and after a definition a word means something else."""
CLEAR_TEST = re.compile(rb"\[\[?(?: (?!-[vR] )[\w./=!-]+)+ \]\]?")
CLEAR_EXPANSION = re.compile(rb"\$\{\w+\}")
"""`${x:=word}` sets a variable; `${x@P}` runs what stands in it."""
PLAIN = frozenset({"word", "number"})
DYNAMIC = _listed("command_substitution process_substitution expansion simple_expansion")
EXPANDS = re.compile(r"[*?\[{$`]|^~|\\\n")
"""In a word without quotes: it may become another, or several."""


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

    has_only_readers: bool
    """Whether every command is known to read and do no more."""

    @property
    def only_reads(self) -> bool:
        """Whether nothing in it is known to change anything."""
        is_plain = self.is_clear and not self.writes and not self.assigns
        return is_plain and self.has_only_readers


def read_script(text: str) -> Script:
    """Read a script."""
    root = _parser().parse(text.encode("utf-8", "replace")).root_node
    commands: list[Argv] = []
    is_clear = not root.has_error and not CONTROL.search(text)
    writes, assigns, has_only_readers = False, False, True
    for node in _nodes(root):
        is_clear &= _is_clear(node)
        if node.type == "command":
            words = _words(node)
            is_clear &= bool(words)
            commands += [words] if words else []
            has_only_readers &= bool(words) and _reads(words, _is_literal(node))
        elif node.type == "file_redirect":
            writes |= _writes(node)
        elif node.type == "variable_assignment":
            assigns = True
        elif node.type == "for_statement":
            name = node.child_by_field_name("variable")
            assigns |= name is None or not (name.text or b"").islower()  # no PATH
    return Script(tuple(commands), is_clear, writes, assigns, has_only_readers)


@cache
def _parser() -> Parser:
    return Parser(Language(tree_sitter_bash.language()))


def _nodes(root: Node) -> Iterator[Node]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        if node.type != "test_command":  # it is known as a whole, or not at all
            waiting += reversed(node.named_children)


def _is_clear(node: Node) -> bool:
    text = node.text or b""
    match node.type:
        case "test_command":
            return CLEAR_TEST.fullmatch(text) is not None
        case "expansion":
            return CLEAR_EXPANSION.fullmatch(text) is not None
        case "compound_statement":
            return not text.startswith(b"((")
    return node.type in CLEAR


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
    if node.type == "concatenation":
        return "".join(map(_text, node.children))
    return text.replace("\\", "") if node.type in PLAIN else text


def _is_literal(node: Node) -> bool:
    """Whether the words of a command, or of a part of it, are what `_text` takes them for."""
    if node.type in ("command", "command_name", "concatenation"):
        return all(map(_is_literal, node.children))
    text = (node.text or b"").decode("utf-8", "replace")
    if node.type == "string":
        return "\\\n" not in text and not any(n.type in DYNAMIC for n in _nodes(node))
    if node.type in PLAIN:
        return not EXPANDS.search(text)
    return node.type in ("raw_string", "file_redirect", "herestring_redirect")


def _writes(redirect: Node) -> bool:
    signs = {child.type for child in redirect.children if not child.is_named}
    place = redirect.child_by_field_name("destination")
    target = (place.text or b"") if place is not None else b""
    goes_nowhere = target == b"/dev/null" or (">&" in signs and target.isdigit())
    return bool(signs - {"<", "<&"}) and not goes_nowhere


def _reads(words: Argv, is_literal: bool) -> bool:
    folder, slash, program = words[0].rpartition("/")
    if slash and f"{folder}/" not in SYSTEM:
        return False  # the repository's own
    if program not in CAREFUL:
        return program in READERS
    return is_literal and _reads_by_its_words(program, words[1:])


def _reads_by_its_words(program: str, words: Argv) -> bool:
    match program:
        case "git":
            return bool(words) and words[0] in GIT_READERS and all(map(_is_reading, words[1:]))
        case "find":
            return not FIND_DOES.intersection(words)
        case "test":  # the index of an array in `-v` is run
            return CLEAR_TEST.fullmatch(f"[ {' '.join(words)} ]".encode()) is not None
    return bool(words) and not words[0].startswith("-")  # `printf -v` sets a variable


def _is_reading(word: str) -> bool:
    """Whether a word of git's is no option, or one that is known to read."""
    is_known = word.partition("=")[0] in GIT_OPTIONS or GIT_SHORT.fullmatch(word)
    return not word.startswith("-") or bool(is_known)
