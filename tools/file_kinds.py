"""What kind of file a name tells of: a test, written by a program, somebody else's code."""

import re
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

MAX_LINE_CHARACTERS = 2000
"""A longer line was written by a program."""
HEAD_CHARACTERS = 1000
"""Where a generated file says so."""

GENERATED = (
    *("*.min.js", "*.min.css", "*.map", "*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*.pb.go"),
    *("*.pb.cc", "*.pb.h", "*.snap", "*.svg", "*.ipynb", "*.csv", "*.tsv", "*.jsonl", "*.ndjson"),
    *("*.g.dart", "*.designer.cs", "*.po", "*.pot", "*.log", "*.patch", "*.diff"),
)
FOREIGN_FOLDERS = frozenset(
    {"node_modules", "site-packages", "vendor", "third_party", "__pycache__", "dist", ".git"}
)
TEST_FOLDERS = frozenset({"test", "tests", "spec", "specs", "__tests__", "testdata", "fixtures"})

_GENERATED_MARK = re.compile(
    r"^[ \t]*(?:#|//|/?\*|--|;|<!--).*"
    r"(?:@generated\b|\bdo not edit\b|\bautomatically generated\b|\bauto-?generated\b)",
    re.IGNORECASE | re.MULTILINE,
)
_TEST_NAME = re.compile(r"test_.+|.+(?:_test|_spec|\.test|\.spec)\.\w+")


def is_test(path: str) -> bool:
    """Say by its name whether a file is a test, or lies with tests."""
    where = PurePosixPath(path.lower())
    return bool(TEST_FOLDERS & {*where.parts[:-1]} or _TEST_NAME.fullmatch(where.name))


def is_generated(path: str) -> bool:
    """Say by its name whether a program wrote a file."""
    name = PurePosixPath(path.lower()).name
    return any(fnmatchcase(name, pattern) for pattern in GENERATED)


def says_generated(text: str) -> bool:
    """Say whether the head of a file tells that a program wrote it."""
    return _GENERATED_MARK.search(text, 0, HEAD_CHARACTERS) is not None
