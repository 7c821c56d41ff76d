"""Templates of small functions and classes, and how one is filled in to become a piece of source.

A template is canonical: the words in its names imply its body. It knows nothing of files, of bugs
or of how its checks are written down as tests.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from string import Template as Text

from evals.nano.words import LOOP_NAMES, NOUNS, TOTAL_NAMES, VALUES

Namespace = dict[str, object]


@dataclass(frozen=True)
class Template:
    """One family of functions (or, with scenes, of classes), written with $slots."""

    names: str
    """Names it can have, separated by spaces, such as `largest_$noun max_$noun`."""
    doc: str
    """The sentence that can stand as docstring."""
    bodies: tuple[str, ...]
    """Sources that all do the same; lines before `def` or `class` go to the top of the module."""
    cases: str = ""
    """What each argument is, as keys of ARGUMENTS."""
    edges: tuple[str, ...] = ()
    """Argument tuples that are always checked, since only they tell some bugs apart."""
    slots: Mapping[str, str] = field(default_factory=dict)
    """More slots: alternatives separated by spaces."""
    scenes: tuple[tuple[str, str, str], ...] = ()
    """For a class: method under test, statements before (`; ` between), expression."""
    needs_doc: bool = False
    """Whether only the docstring decides between two readings."""
    bugs: tuple[tuple[str, str, str], ...] = ()
    """Bugs besides the general ones: kind, text in the right line, text in the wrong one."""
    general_bugs: bool = True
    """False for loops that a general bug could make endless."""
    without: tuple[str, ...] = ()
    """Kinds of general bugs after which nothing tells how it was."""


@dataclass(frozen=True)
class Check:
    """One assertion to be: statements, then a call whose value is expected."""

    function: str
    call: str
    expected: str
    setup: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Piece:
    """One filled-in function or class."""

    name: str
    head: tuple[str, ...]
    lines: tuple[str, ...]
    checks: tuple[Check, ...]
    template: Template
    params: tuple[str, ...] = ()
    """A function's parameters with their defaults, without types."""
    bugs: tuple[tuple[str, str, str], ...] = ()
    """The template's own bugs, filled in."""
    helper: "Piece | None" = None
    """The piece of another file that this one calls."""

    @property
    def source(self) -> str:
        """Return the lines as a module could hold them."""
        return "\n".join((*self.head, *self.lines)) + "\n"


def _numbers(random: Random, low: int, high: int) -> list[int]:
    return [random.randint(low, high) for _ in range(random.randint(3, 5))]


def _tally(random: Random) -> dict[str, int]:
    return {word: random.randint(1, 12) for word in random.sample(VALUES, random.randint(2, 3))}


ARGUMENTS: Mapping[str, Callable[[Random], object]] = {
    "int": lambda r: r.randint(2, 20),
    "digit": lambda r: r.randint(1, 6),
    "signed": lambda r: r.randint(-9, 15),
    "even": lambda r: 2 * r.randint(2, 20),
    "ten": lambda r: 10 * r.randint(2, 20),
    "hundred": lambda r: 100 * r.randint(1, 9),
    "percent": lambda r: r.choice((10, 20, 25, 40, 50, 75)),
    "half": lambda r: r.randint(1, 20) + 0.5,
    "flag": lambda r: r.random() < 0.5,
    "ints": lambda r: _numbers(r, 1, 15),
    "signeds": lambda r: _numbers(r, -9, 12),
    "digits": lambda r: _numbers(r, 1, 4),
    "tens": lambda r: [10 * n for n in _numbers(r, 1, 9)],
    "flags": lambda r: [r.random() < 0.5 for _ in range(3)],
    "word": lambda r: r.choice(VALUES),
    "Word": lambda r: r.choice(VALUES).capitalize(),
    "mixed": lambda r: r.choice(VALUES).capitalize() + r.choice(VALUES)[:2].upper(),
    "padded": lambda r: " " * r.randint(1, 2) + r.choice(VALUES) + " " * r.randint(1, 2),
    "letter": lambda r: r.choice("aeionrlp"),
    "words": lambda r: r.sample(VALUES, r.randint(3, 4)),
    "short_words": lambda r: [w[: r.randint(2, 5)] for w in r.sample(VALUES, 3)],
    "repeated": lambda r: [r.choice(VALUES[:3]) for _ in range(5)],
    "text": lambda r: " ".join(r.sample(VALUES, r.randint(2, 3))),
    "commas": lambda r: ",".join(r.sample(VALUES, r.randint(2, 3))),
    "tally": _tally,
    "pairs": lambda r: list(_tally(r).items()),
    "points": lambda r: [(r.randint(1, 9), r.randint(1, 9)) for _ in range(3)],
    "grid": lambda r: [[r.randint(1, 9) for _ in range(2)] for _ in range(r.randint(2, 3))],
}


def literal(value: object) -> str:
    """Write a value as a careful person would: double quotes."""
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, tuple):
        inner = ", ".join(map(literal, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    return repr(value)


def run_source(source: str) -> Namespace:
    """Execute generated source; its names are returned."""
    names: Namespace = {}
    exec(compile(source, "<piece>", "exec"), names)
    return names


def value_of(check: Check, names: Namespace) -> object:
    """Run one check's statements and its call."""
    own = dict(names)
    for statement in check.setup:
        exec(statement, own)
    value: object = eval(check.call, own)
    return value


def fill(template: Template, random: Random) -> Piece:
    """Choose names, a body and values for one template."""
    body = random.choice(template.bodies).strip("\n")
    words = _choose_words(template, body, random)
    name = Text(random.choice(template.names.split())).substitute(words)
    words["f"] = name
    lines = Text(body).substitute(words).split("\n")
    start = next(i for i, line in enumerate(lines) if line.startswith(("def ", "class ")))
    head, lines = lines[:start], lines[start:]
    while head and not head[-1]:
        head.pop()
    bare = Piece(name, tuple(head), tuple(lines), (), template)
    names = run_source(bare.source)
    if template.scenes:
        checks = [_scene_check(scene, words, random) for scene in template.scenes]
    else:
        checks = [_case_check(name, case) for case in _choose_cases(template, words, random)]
    checks = [replace(c, expected=literal(value_of(c, names))) for c in checks]
    params: tuple[str, ...] = ()
    if match := re.fullmatch(r"def \w+\((.*)\):", lines[0]):
        params = tuple(match[1].split(", "))
        if random.random() < 0.25:
            lines[0] = f"def {name}({_with_hints(params, checks)}:"
    doc = Text(template.doc).substitute(words)
    chance = random.random()
    if template.needs_doc or chance < 0.3:
        lines[1:1] = [f'    """{doc}"""', *([""] if template.scenes else [])]
    elif chance < 0.4:
        lines.insert(1, f"    # {doc}")
    bugs = tuple(
        (kind, Text(right).substitute(words), Text(wrong).substitute(words))
        for kind, right, wrong in template.bugs
    )
    return Piece(name, tuple(head), tuple(lines), tuple(checks), template, params, bugs)


def _choose_words(template: Template, body: str, random: Random) -> dict[str, str]:
    """Give every slot a word; no two slots of one piece share one, nor one with the body."""
    taken = _own_words(body)
    nouns = [noun for noun in random.sample(NOUNS, 16) if not taken & {noun, noun + "s"}]
    kind, a, b, c, d, other = nouns[:6]
    noun = f"{kind}_{other}" if random.random() < 0.3 else kind
    if random.random() < 0.4:
        a = noun.split("_")[-1]
    loop_names = [name for name in LOOP_NAMES if name not in taken]
    x = a if not re.search(r"\$a\b", body) and random.random() < 0.5 else random.choice(loop_names)
    total_names = [name for name in TOTAL_NAMES if name not in taken]
    total = random.choice(total_names) if random.random() < 0.7 else d
    words = {"noun": noun, "nouns": noun + "s", "Noun": kind.capitalize(), "NOUN": noun.upper()}
    words |= {"a": a, "b": b, "c": c, "as": a + "s", "bs": b + "s", "cs": c + "s"}
    words |= {"x": x, "t": total, "i": random.choice(("i", "index", "position"))}
    words |= {"p": str(random.randint(2, 9)), "q": str(random.randint(11, 19))}
    words |= {"v": random.choice(VALUES[:15]), "w": random.choice(VALUES[15:])}
    words |= {slot: random.choice(choices.split()) for slot, choices in template.slots.items()}
    return words


@cache
def _own_words(body: str) -> frozenset[str]:
    """Return the names that a body has of its own."""
    return frozenset(re.findall(r"(?<![$\w{])[a-z_]+\b", body))


def _choose_cases(
    template: Template, words: Mapping[str, str], random: Random
) -> list[tuple[object, ...]]:
    """Return two to four different argument tuples, the edges among them."""
    cases: list[tuple[object, ...]] = [eval(Text(e).substitute(words)) for e in template.edges]
    makers = [ARGUMENTS[key] for key in template.cases.split()]
    wanted = max(random.randint(2, 4), len(cases) + (1 if makers else 0))
    for _ in range(20):
        if len(cases) >= wanted or not makers:
            break
        case = tuple(maker(random) for maker in makers)
        if case not in cases:
            cases.append(case)
    random.shuffle(cases)
    return cases


def _case_check(name: str, case: tuple[object, ...]) -> Check:
    arguments = tuple(map(literal, case))
    return Check(name, f"{name}({', '.join(arguments)})", "", arguments=arguments)


def _scene_check(scene: tuple[str, str, str], words: Mapping[str, str], random: Random) -> Check:
    method, setup, call = (Text(part).substitute(words) for part in scene)
    return Check(method, call, "", setup=tuple(setup.split("; ")))


def _with_hints(params: Sequence[str], checks: Sequence[Check]) -> str:
    """Return the parameters, and what follows them, with the types that the checks show."""
    widest = max(checks, key=lambda check: len(check.arguments))
    typed = []
    for param, argument in zip(params, widest.arguments, strict=False):
        name, equals, default = param.partition("=")
        hint = _hint(eval(argument))
        typed.append(f"{name}: {hint} = {default}" if equals else f"{name}: {hint}")
    returns = {_hint(eval(check.expected)) for check in checks}
    arrow = f" -> {returns.pop()}" if len(returns) == 1 else ""
    return f"{', '.join([*typed, *params[len(typed) :]])}){arrow}"


def _hint(value: object) -> str:
    if isinstance(value, list):
        return f"list[{_hint(value[0])}]" if value else "list"
    if isinstance(value, dict):
        pairs = [f"{_hint(k)}, {_hint(v)}" for k, v in value.items()]
        return f"dict[{pairs[0]}]" if pairs else "dict"
    if isinstance(value, tuple):
        return "tuple"
    return "None" if value is None else type(value).__name__
