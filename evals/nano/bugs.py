"""Ways to break one line of Python, each a slip that people make.

Works on the text of a line, so that the broken line differs from the right one in that slip alone.
Whether a bug shows in a test is for the caller to find out.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

KINDS = (
    "arithmetic",
    "assignment",
    "comparison",
    "boundary",
    "boolean",
    "negation",
    "constant",
    "slice",
    "range",
    "swap",
    "variable",
    "method",
    "builtin",
    "early_return",
    "default",
)

_TOKEN = re.compile(
    r'f?"[^"]*"|\d+(?:\.\d+)?|[A-Za-z_]\w*|\*\*|//=|[-+*/%]=|//|==|!=|<=|>=|->|not in\b|\S'
)
_ARITHMETIC: Mapping[str, tuple[str, ...]] = {
    "+": ("-",),
    "-": ("+",),
    "*": ("+", "//", "-"),
    "/": ("*", "//"),
    "//": ("*", "+"),
    "%": ("//", "*"),
    "**": ("*",),
}
_ASSIGNMENT: Mapping[str, tuple[str, ...]] = {
    "+=": ("-=", "="),
    "-=": ("+=", "="),
    "*=": ("+=", "="),
    "//=": ("-=",),
}
_COMPARISON = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "==": "!=", "!=": "=="}
_BOUNDARY = {"<": "<=", ">": ">=", "<=": "<", ">=": ">"}
_METHODS: Mapping[str, tuple[str, ...]] = {
    "upper": ("lower", "title"),
    "lower": ("upper", "strip"),
    "title": ("upper", "lower"),
    "capitalize": ("upper", "lower"),
    "strip": ("lstrip", "rstrip", "lower"),
    "lstrip": ("rstrip",),
    "rstrip": ("lstrip",),
    "startswith": ("endswith",),
    "endswith": ("startswith",),
    "removeprefix": ("removesuffix",),
    "removesuffix": ("removeprefix",),
    "find": ("count",),
    "count": ("find", "index"),
    "index": ("count",),
    "isupper": ("islower",),
    "islower": ("isupper",),
    "isdigit": ("isalpha",),
    "isalpha": ("isdigit",),
    "keys": ("values",),
    "values": ("keys",),
    "items": ("keys",),
    "append": ("extend", "remove"),
    "extend": ("append",),
    "ljust": ("rjust",),
    "rjust": ("ljust",),
    "split": ("strip",),
}
_BUILTINS: Mapping[str, tuple[str, ...]] = {
    "max": ("min", "sum"),
    "min": ("max", "sum"),
    "sum": ("len", "max"),
    "len": ("sum", "max"),
    "any": ("all",),
    "all": ("any",),
    "abs": ("int",),
    "sorted": ("list",),
    "reversed": ("sorted",),
    "set": ("list",),
    "int": ("str",),
    "str": ("int",),
    "round": ("int",),
}
_TEXTS = {'" "': '""', '""': '" "', '", "': '","', '","': '" "', '"-"': '"_"', '"_"': '"-"'}
_SLICES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"0", ("1", "-1")),
    (r"1", ("0", "-1")),
    (r"-1", ("0", "-2")),
    (r"1:", (":1", "2:", ":-1")),
    (r":1", ("1:", ":2")),
    (r":-1", ("1:", ":1", ":-2")),
    (r"1:-1", (":-1", "1:")),
    (r"-1:", (":1", "-2:")),
    (r"::-1", ("::1", ":-1")),
    (r"::2", ("1::2", "::3")),
    (r"1::2", ("::2", "2::2")),
    (r":(\w+)", (r"\1:", r":\1 - 1", r":\1 + 1")),
    (r"(\w+):", (r":\1", r"\1 - 1:", r"\1 + 1:")),
    (r"-(\w+):", (r":\1", r"\1:")),
    (r":-(\w+)", (r":\1", r"-\1:")),
    (r"(\w+):(\w+)", (r"\2:\1", r"\1:", r"\1:\2 + 1")),
    (r"::(\w+)", (r"\1::",)),
    (r"(\w+) - 1", (r"\1", r"\1 + 1")),
    (r"(\w+) \+ 1", (r"\1", r"\1 - 1")),
)
_RANGES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"1, (.+) \+ 1", (r"1, \1", r"0, \1", r"2, \1 + 1")),
    (r"1, (.+)", (r"\1", r"2, \1", r"1, \1 - 1")),
    (r"(\w+), (\w+) \+ 1", (r"\1, \2", r"\1 + 1, \2 + 1")),
    (r"(\w+), (\w+)", (r"\1, \2 + 1", r"\2, \1")),
    (r"(.+) \+ 1", (r"\1", r"1, \1 + 1")),
    (r"([^,]+)", (r"1, \1", r"\1 - 1")),
    (r"0, (.+), (.+)", (r"1, \1, \2",)),
)
_NO_READ = re.compile(r"\.(?:append|add|extend|insert|pop|remove|update)\(|\[[^\]]*\] [-+*]?=[^=]")


@dataclass(frozen=True)
class Bug:
    """A line and what it is broken into."""

    kind: str
    index: int
    right: str
    wrong: str


def find_bugs(lines: Sequence[str]) -> list[Bug]:
    """Return every way to break one of the lines of a function or class, in order."""
    found = []
    known: list[str] = []
    for index, line in enumerate(lines):
        if not line.strip() or line.lstrip().startswith(('"""', "#", "class ", "import ", "from ")):
            continue
        if line.lstrip().startswith("def "):
            known.clear()
        before = lines[index - 1] if index else ""
        for kind, wrong in _break_line(line, before, known):
            if wrong != line:
                found.append(Bug(kind, index, line, wrong))
        known.extend(name for name in _bound_names(line) if name not in known)
    return found


def _bound_names(line: str) -> list[str]:
    """Return the names that a line binds: parameters, targets, loop variables."""
    if match := re.match(r"\s*def \w+\((.*)\)", line):
        names = [re.split(r"[:=]", part)[0].strip() for part in match[1].split(",")]
        return [name for name in names if re.fullmatch(r"[a-z_]\w*", name) and name != "self"]
    if match := re.match(r"\s*for ([\w, ]+) in ", line):
        return match[1].split(", ")
    if match := re.match(r"\s*([a-z_]\w*(?:, [a-z_]\w*)*) = ", line):
        return match[1].split(", ")
    return []


def _break_line(line: str, before: str, known: Sequence[str]) -> Iterator[tuple[str, str]]:
    if line.lstrip().startswith("def "):
        yield from _defaults(line)
        return
    yield from _operators(line)
    yield from _negations(line)
    yield from _constants(line)
    yield from _patterns(line)
    yield from _swaps(line)
    yield from _calls(line)
    yield from _variables(line, known)
    yield from _early_return(line, before)


def _replaced(line: str, match: re.Match[str], new: str) -> str:
    return line[: match.start()] + new + line[match.end() :]


def _tokens(line: str) -> Iterator[tuple[re.Match[str], str]]:
    """Yield every token with the text of the one before it."""
    previous = ""
    for match in _TOKEN.finditer(line):
        yield match, previous
        previous = match[0]


def _operators(line: str) -> Iterator[tuple[str, str]]:
    for match, previous in _tokens(line):
        token = match[0]
        is_binary = bool(re.fullmatch(r'[\w.]+|[)\]]|f?".*"', previous)) and previous != "return"
        spaced = line[match.end() : match.end() + 1] == " "
        if is_binary and spaced and _depth(line, match.start()) == 0:
            for new in _ARITHMETIC.get(token, ()):
                yield "arithmetic", _replaced(line, match, new)
        for new in _ASSIGNMENT.get(token, ()):
            yield "assignment", _replaced(line, match, new)
        if token in _COMPARISON:
            yield "comparison", _replaced(line, match, _COMPARISON[token])
        if token in _BOUNDARY:
            yield "boundary", _replaced(line, match, _BOUNDARY[token])
        if token in ("and", "or"):
            yield "boolean", _replaced(line, match, "or" if token == "and" else "and")


def _depth(line: str, position: int) -> int:
    """Return in how many subscripts a position lies; a list display counts as none."""
    depth: list[bool] = []
    for at, char in enumerate(line[:position]):
        if char == "[":
            depth.append(bool(re.match(r"[\w)\]]", line[at - 1 : at])))
        elif char == "]" and depth:
            depth.pop()
    return sum(depth)


def _negations(line: str) -> Iterator[tuple[str, str]]:
    for match in re.finditer(r"\bnot in\b", line):
        yield "negation", _replaced(line, match, "in")
    for match in re.finditer(r"\bnot (?!in\b)", line):
        yield "negation", _replaced(line, match, "")
    for match in re.finditer(r"\b(\w+) in (?=[\w(\"])", line):
        if match[1] != "not" and not _is_target(line, match.start()):
            yield "negation", _replaced(line, match, f"{match[1]} not in ")
    for match in re.finditer(r"\bif (?=[\w.]+(?:\([^()]*\))?[:\]])", line):
        yield "negation", _replaced(line, match, "if not ")
    for match in re.finditer(r"\breturn (?=[\w.]+\.(?:is\w+|startswith|endswith)\()", line):
        yield "negation", _replaced(line, match, "return not ")


def _is_target(line: str, position: int) -> bool:
    """Tell whether a name there is what a `for` binds."""
    return bool(re.search(r"\bfor (?:\w+, )*$", line[:position]))


def _constants(line: str) -> Iterator[tuple[str, str]]:
    for match, previous in _tokens(line):
        token = match[0]
        if token in ("True", "False") and previous in ("return", "="):
            yield "constant", _replaced(line, match, "False" if token == "True" else "True")
        elif token in _TEXTS:
            kind = (
                "default" if re.search(r"\.get\([^()]*, $", line[: match.start()]) else "constant"
            )
            yield kind, _replaced(line, match, _TEXTS[token])
        elif re.fullmatch(r"\d+", token) and _depth(line, match.start()) == 0:
            if re.search(r"range\([^()]*$", line[: match.start()]):
                continue
            is_default = re.search(r"(?:\.get\([^()]*, |default=)$", line[: match.start()])
            for new in _near(int(token)):
                yield "default" if is_default else "constant", _replaced(line, match, new)


def _near(number: int) -> list[str]:
    """Return the numbers that someone might write in its place."""
    if number == 0:
        return ["1"]
    if number == 1:
        return ["0", "2"]
    if number in (10, 100, 1000):
        return [str(number * 10), str(number // 10)]
    if number > 10:
        return [str(number + 10), str(number - 10)] if number % 10 == 0 else [str(number + 1)]
    return [str(number + 1), str(number - 1)]


def _patterns(line: str) -> Iterator[tuple[str, str]]:
    """Break what stands in a subscript or in `range(...)`."""
    for kind, rules, regex in (
        ("slice", _SLICES, r"(?<=[\w)\]])\[([^\[\]]+)\](?! [-+*]?= )"),
        ("range", _RANGES, r"(?<=range)\(((?:[^()]|\([^()]*\))+)\)"),
    ):
        for match in re.finditer(regex, line):
            for pattern, results in rules:
                if inner := re.fullmatch(pattern, match[1]):
                    for result in results:
                        new = match[0][0] + inner.expand(result) + match[0][-1]
                        yield kind, _replaced(line, match, new)
                    break


def _swaps(line: str) -> Iterator[tuple[str, str]]:
    operand = r"[\w.]+(?:\([\w.]*\))?"
    for match in re.finditer(
        rf"(?<![\w)\]] )(?<![\w.])({operand}) (-|/|//|%|\*\*) ({operand})(?![\w(\[])", line
    ):
        yield "swap", _replaced(line, match, f"{match[3]} {match[2]} {match[1]}")
    for match in re.finditer(r"(?<!range)\(([\w.]+), ([\w.]+)\)", line):
        yield "swap", _replaced(line, match, f"({match[2]}, {match[1]})")
    for match in re.finditer(r"\breturn ([\w.]+), ([\w.]+)$", line):
        yield "swap", _replaced(line, match, f"return {match[2]}, {match[1]}")
    for match in re.finditer(r'([\w.]+|"\w*") if (.+) else ([\w.]+|"\w*")', line):
        yield "swap", _replaced(line, match, f"{match[3]} if {match[2]} else {match[1]}")
    for match in re.finditer(r'(?<=f")(.*?)\{(\w+)\}([^{}]*)\{(\w+)\}', line):
        new = f"{match[1]}{{{match[4]}}}{match[3]}{{{match[2]}}}"
        yield "swap", _replaced(line, match, new)


def _calls(line: str) -> Iterator[tuple[str, str]]:
    for match in re.finditer(r"(?<=\.)(\w+)(?=\()", line):
        for new in _METHODS.get(match[0], ()):
            yield "method", _replaced(line, match, new)
    for match in re.finditer(r"(?<![\w.])(\w+)(?=\()", line):
        for new in _BUILTINS.get(match[0], ()):
            yield "builtin", _replaced(line, match, new)
    for match in re.finditer(r"(?<==)(\w+)(?=\))", line):
        for new in {"len": ("max",), "max": ("min",), "min": ("max",)}.get(match[0], ()):
            yield "builtin", _replaced(line, match, new)


def _variables(line: str, known: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Read another name than the right one."""
    names = list(known)
    for match in re.finditer(r"\bfor ((?:\w+, )*\w+) in ", line):
        names.extend(name for name in match[1].split(", ") if name not in names)
    start = re.match(r"\s*(?:for [\w, ]+ in |[\w, ]+ [-+*/]*= )?", line)
    for match in re.finditer(r'(?<![\w."])[a-z_]\w*(?![\w"(=])', line):
        if match[0] not in names or (start and match.start() < start.end()):
            continue
        if _NO_READ.match(line, match.end()) or line.count('"', 0, match.start()) % 2:
            continue
        if _is_target(line, match.start()):
            continue
        for other in names:
            if other != match[0]:
                yield "variable", _replaced(line, match, other)


def _early_return(line: str, before: str) -> Iterator[tuple[str, str]]:
    indent = len(line) - len(line.lstrip())
    if line.lstrip().startswith("return") and len(before) - len(before.lstrip()) > indent:
        yield "early_return", "    " + line


def _defaults(line: str) -> Iterator[tuple[str, str]]:
    for match in re.finditer(r'(?<==)(?: ?)("[^"]*"|\w+)(?=[,)])', line):
        space = " " if match[0].startswith(" ") else ""
        for new in _other_default(match[1]):
            yield "default", _replaced(line, match, space + new)


def _other_default(text: str) -> list[str]:
    if text.isdigit():
        return _near(int(text))
    if text in ("True", "False"):
        return ["False" if text == "True" else "True"]
    return [_TEXTS[text]] if text in _TEXTS else []
