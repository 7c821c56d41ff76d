"""Which files and symbols of a repository matter: PageRank over references from file to file.

A file hands its rank on to the files that define what it mentions: more for a name that few files
define, less for a private one. A name behind a dot can be anything's, a string's `replace` for one:
it counts only for files that are mentioned by a plain name too. networkx, which torch brings along, is not used: its PageRank wants
SciPy, and it takes longer to import than a round takes here.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from math import log1p
from typing import NamedTuple

from tools.symbol_index import IndexedFile

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
Name = tuple[str, str]
"""A family, and a name in it."""


class RankedSymbol(NamedTuple):
    """A name that a file defines, and how much the repository leans on it."""

    path: str
    name: str
    score: float


class Ranking:
    """Ranks the files of one index; what has not changed is not counted anew."""

    def __init__(self) -> None:
        self._plain: Mapping[Name, dict[str, float]] = {}
        self._members: Mapping[Name, dict[str, float]] = {}
        self._edges: dict[str, dict[str, float]] = {}
        self._last: dict[str, float] = {}

    def update(self, files: Files, changed: Iterable[str]) -> None:
        """Take in that some files have changed, are new, or gone."""
        plain, members = _definers(files, False), _definers(files, True)
        moved: defaultdict[str, set[str]] = defaultdict(set)
        for family, name in _differing(self._plain, plain):
            moved[family].add(name)
        for family, name in _differing(self._members, members):
            moved[family].add(name)
        self._plain, self._members = plain, members
        stale = {*changed}
        for path, file in files.items():
            names = moved[file.family]
            if not (names.isdisjoint(file.mentions) and names.isdisjoint(file.members)):
                stale.add(path)
        for path in stale:
            self._edges.pop(path, None)
            if path in files:
                self._edges[path] = dict(self._count_edges(path, files[path]))

    def rank_files(self, files: Files, focus: frozenset[str] = frozenset()) -> dict[str, float]:
        """Return the rank of every file; together they are 1."""
        start = _start(files, focus)
        rank = start if focus else self._last_or(start)
        edges = [
            (path, [(other, weight / total) for other, weight in targets.items()])
            for path, targets in self._edges.items()
            if (total := sum(targets.values()))
        ]
        for _ in range(MAX_ROUNDS):
            handed = dict.fromkeys(files, 0.0)
            for path, shares in edges:
                given = DAMPING * rank[path]
                for other, share in shares:
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
        self, files: Files, rank: Mapping[str, float], among: Iterable[str]
    ) -> list[RankedSymbol]:
        """Rank what some files define by the rank that reaches it, the first first."""
        wanted: defaultdict[str, set[str]] = defaultdict(set)
        scores: dict[tuple[str, str], float] = {}
        for path in among:
            for one in files[path].definitions:
                wanted[files[path].family].add(one.name)
                scores[path, one.name] = 0.0
        num_users = Counter[tuple[str, str]]()
        for path, targets in self._edges.items():
            file = files[path]
            given = rank[path] / (sum(targets.values()) or 1.0)
            for other, name, weight in self._uses(path, file, wanted[file.family], targets):
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
            definers = self._plain.get((file.family, name))
            if definers and len(definers) <= MAX_DEFINERS and path not in definers:
                weight = file.mentions[name] * _name_weight(name) / len(definers)
                yield from ((other, name, weight * value) for other, value in definers.items())

    def _member_uses(
        self, path: str, file: IndexedFile, names: Iterable[str], known: Collection[str]
    ) -> Iterator[tuple[str, str, float]]:
        for name in names:
            definers = self._members.get((file.family, name), {})
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


def _definers(files: Files, are_members: bool) -> dict[Name, dict[str, float]]:
    """Return which files define each name, and how much that weighs."""
    found: defaultdict[Name, dict[str, float]] = defaultdict(dict)
    for path, file in files.items():
        for one in file.definitions:
            if one.is_member is are_members:
                found[file.family, one.name][path] = VALUE_WEIGHT if one.is_value else 1.0
    return found


def _differing(
    old: Mapping[Name, dict[str, float]], new: Mapping[Name, dict[str, float]]
) -> Iterator[Name]:
    return (name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


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
