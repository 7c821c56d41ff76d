"""Which files and symbols of a repository matter: PageRank over references from file to file.

A file hands its rank on to the files that define what it mentions: more for a name that few files
define, less for a private one. A name behind a dot can be anything's, a string's `replace` for one:
it counts only for files that are mentioned by a plain name too.

networkx, which torch brings along, is not used: its PageRank wants SciPy, which is not there.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from math import log1p
from typing import NamedTuple

from tools.indexing import IndexedFile

DAMPING = 0.85
MAX_ROUNDS = 40
TOLERANCE = 1e-3
"""Of all rank, what may still move in the last round."""
MAX_DEFINERS = 5
"""A name that more files define says nothing of any of them."""
MEMBER_WEIGHT = 0.3
VALUE_WEIGHT = 0.3
PRIVATE_WEIGHT = 0.1
SHORT_WEIGHT = 0.3
SHORT_CHARACTERS = 3
FOCUS_SHARE = 0.9
"""Of what is handed out anew in each round, to the files in focus."""

Files = Mapping[str, IndexedFile]


class _Name(NamedTuple):
    """What is looked for when a file mentions a name."""

    family: str
    name: str
    is_member: bool


class RankedSymbol(NamedTuple):
    """A name that a file defines, and how much the repository leans on it."""

    path: str
    name: str
    score: float


@dataclass(frozen=True, slots=True)
class _Edges:
    """What a file hands on to others."""

    total: float
    shares: Mapping[str, float]
    """By path; together they are 1."""


class Ranking:
    """Ranks the files of one index; what has not changed is not counted anew."""

    def __init__(self) -> None:
        self._files: dict[str, IndexedFile] = {}
        self._definers: defaultdict[_Name, dict[str, float]] = defaultdict(dict)
        """Which files define a name, and how much that weighs."""
        self._edges: dict[str, _Edges] = {}
        self._last: dict[str, float] = {}

    def update(self, files: Files, changed: Iterable[str]) -> None:
        """Take in that some files have changed, are new, or gone."""
        stale = {*changed}
        moved = self._redefine(files, stale)
        for path, file in files.items():
            names = moved[file.family]
            if not (names.isdisjoint(file.mentions) and names.isdisjoint(file.members)):
                stale.add(path)
        for path in stale:
            self._edges.pop(path, None)
            if path in files and (edges := self._count_edges(path, files[path])):
                total = sum(edges.values())
                shares = {other: weight / total for other, weight in edges.items()}
                self._edges[path] = _Edges(total, shares)

    def _redefine(self, files: Files, changed: Iterable[str]) -> defaultdict[str, set[str]]:
        """Take in what changed files define; return by family the names that it matters for."""
        moved: defaultdict[str, set[str]] = defaultdict(set)
        for path in changed:
            old, new = self._files.pop(path, None), files.get(path)
            before = _definitions(old) if old else {}
            after = _definitions(new) if new else {}
            for key in before.keys() | after.keys():
                if before.get(key) != after.get(key):
                    moved[key.family].add(key.name)
                    self._definers[key].pop(path, None)
                    if key in after:
                        self._definers[key][path] = after[key]
            if new is not None:
                self._files[path] = new
        return moved

    def rank_files(self, files: Files, focus: frozenset[str] = frozenset()) -> dict[str, float]:
        """Return the rank of every file; together they are 1."""
        start = _start(files, focus)
        rank = start if focus else self._last_or(start)
        for _ in range(MAX_ROUNDS):
            handed = dict.fromkeys(files, 0.0)
            for path, edges in self._edges.items():
                given = DAMPING * rank[path]
                for other, share in edges.shares.items():
                    handed[other] += given * share
            rest = 1.0 - sum(handed.values())
            new = {path: value + rest * start[path] for path, value in handed.items()}
            moved = sum(abs(new[path] - rank[path]) for path in new)
            rank = new
            if moved < TOLERANCE:
                break
        if not focus:
            self._last = rank
        return rank

    def rank_symbols(
        self, files: Files, rank: Mapping[str, float], among: Sequence[str]
    ) -> list[RankedSymbol]:
        """Rank what some files define by the rank that reaches it, the first first."""
        wanted: defaultdict[str, set[str]] = defaultdict(set)
        scores: dict[tuple[str, str], float] = {}
        goals = frozenset(among)
        for path in among:
            for one in files[path].definitions:
                wanted[files[path].family].add(one.name)
                scores[path, one.name] = 0.0
        num_users = Counter[tuple[str, str]]()
        for path, edges in self._edges.items():
            if goals.isdisjoint(edges.shares):
                continue
            file = files[path]
            given = rank[path] / edges.total
            for other, name, weight in self._uses(path, file, wanted[file.family], edges.shares):
                if (other, name) in scores:
                    scores[other, name] += given * weight
                    num_users[other, name] += 1
        found = [
            RankedSymbol(path, name, score * log1p(num_users[path, name]) * files[path].weight)
            for (path, name), score in scores.items()
        ]
        return sorted(found, key=lambda symbol: -symbol.score)

    def _count_edges(self, path: str, file: IndexedFile) -> dict[str, float]:
        edges: defaultdict[str, float] = defaultdict(float)
        for other, _, weight in self._plain_uses(path, file, file.mentions.keys()):
            edges[other] += weight
        for other, _, weight in self._member_uses(path, file, file.members.keys(), {*edges}):
            edges[other] += weight
        return edges

    def _uses(
        self, path: str, file: IndexedFile, names: Set[str], known: Collection[str]
    ) -> Iterator[tuple[str, str, float]]:
        """Return which of the names a file uses, of which other files, and how much."""
        yield from self._plain_uses(path, file, names & file.mentions.keys())
        yield from self._member_uses(path, file, names & file.members.keys(), known)

    def _plain_uses(
        self, path: str, file: IndexedFile, names: Iterable[str]
    ) -> Iterator[tuple[str, str, float]]:
        for name in names:
            definers = self._definers.get(_Name(file.family, name, False))
            if definers and len(definers) <= MAX_DEFINERS and path not in definers:
                weight = file.mentions[name] * _name_weight(name) / len(definers)
                yield from ((other, name, weight * value) for other, value in definers.items())

    def _member_uses(
        self, path: str, file: IndexedFile, names: Iterable[str], known: Collection[str]
    ) -> Iterator[tuple[str, str, float]]:
        for name in names:
            definers = self._definers.get(_Name(file.family, name, True), {})
            if path in definers:
                continue
            likely = [other for other in definers if other in known]
            if 0 < len(likely) <= MAX_DEFINERS:
                weight = MEMBER_WEIGHT * file.members[name] * _name_weight(name) / len(likely)
                yield from ((other, name, weight * definers[other]) for other in likely)

    def _last_or(self, start: dict[str, float]) -> dict[str, float]:
        """Begin where the last ranking ended: after a small change, a few rounds are enough."""
        if not self._last:
            return start
        return {path: self._last.get(path, share) for path, share in start.items()}


def _definitions(file: IndexedFile) -> dict[_Name, float]:
    """Return the names that a file defines, and how much each weighs."""
    return {
        _Name(file.family, one.name, one.is_member): VALUE_WEIGHT if one.is_value else 1.0
        for one in file.definitions
    }


def _start(files: Files, focus: frozenset[str]) -> dict[str, float]:
    """Return what each file is given to begin with, and again in every round."""
    total = sum(file.weight for file in files.values()) or 1.0
    shares = {path: file.weight / total for path, file in files.items()}
    near = focus & files.keys()
    if not near:
        return shares
    return {
        path: (1 - FOCUS_SHARE) * share + (FOCUS_SHARE / len(near) if path in near else 0.0)
        for path, share in shares.items()
    }


def _name_weight(name: str) -> float:
    if name.startswith("_"):
        return PRIVATE_WEIGHT
    return SHORT_WEIGHT if len(name) <= SHORT_CHARACTERS else 1.0
