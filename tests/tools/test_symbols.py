"""Definitions and references in every language, and that no source can make it fail or wait."""

import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tools.symbol_sources import SOURCES
from tools.grammars import NotParsed
from tools.languages import LANGUAGES
from tools.queries import QUERIES
from tools.symbols import MAX_BYTES, read_symbols

HOSTILE = {
    "deep brackets": b"x = " + b"(" * 100_000,
    "deep braces": b"{" * 100_000,
    "a long sum": b"x = " + b"a + " * 100_000 + b"a;",
    "loose stars": b"int " + b"*" * 100_000,
    "nested generics": b"a<" * 100_000,
    "nested ifs": b"if(x)" * 50_000,
    "a long line": b"f(" + b"a," * 200_000 + b");",
    "invalid UTF-8": b"def \xff\xfe(): \xc3\n" * 1000,
    "letters of a BOM": b"\xef\xbb\xbfx = 1\n",
    "empty": b"",
}


@pytest.mark.parametrize("name", SOURCES)
def test_symbols_are_found_with_their_lines_and_nesting(name: str) -> None:
    source, expected, _ = SOURCES[name]
    rows = [
        f"{one.first}-{one.last} {'  ' * one.depth}{one.name}\n"
        for one in read_symbols(name, source.encode()).definitions
    ]
    assert "".join(rows) == expected.removeprefix("\n")


@pytest.mark.parametrize("name", SOURCES)
def test_references_are_found_and_definitions_are_none(name: str) -> None:
    source, _, expected = SOURCES[name]
    symbols = read_symbols(name, source.encode())
    found = {
        wanted: [symbols.line_of(one) for one in symbols.references if one.name == wanted]
        for wanted in expected
    }
    assert found == expected
    assert all(found.values())


def test_every_language_that_is_cut_has_a_query_and_a_golden_source() -> None:
    assert {*QUERIES} == {*LANGUAGES.values()}
    assert len(SOURCES) == len(QUERIES) == 13


@pytest.mark.parametrize("name", ["a.js", "a.ts"])
def test_what_a_script_exports_by_name_is_defined_there_and_what_it_requires_is_not(
    name: str,
) -> None:
    source = b"""const fs = require('fs');
const { a, b } = require('./x');
var util = require('./util').util, later, other = 3;
exports.total = function (x) { return x; };
exports.rate = (x) => x;
module.exports.Cart = class {};
exports.other = other;
cart.total = function () {};
"""
    found = read_symbols(name, source).definitions
    names = [(one.name, one.line, one.is_value) for one in found]
    assert names == [
        ("later", 3, True),
        ("other", 3, True),
        ("total", 4, False),
        ("rate", 5, False),
        ("Cart", 6, False),
    ]


def test_a_local_variable_is_no_reference_to_a_function_of_that_name() -> None:
    source = b"def main(tax, rate=1):\n    first = tax + rate\n    return first\n"
    assert read_symbols("a.py", source).references == ()


def test_a_signature_is_cut_and_cleaned() -> None:
    source = b"def f(" + b"a, " * 100 + b"): # \x1b[31mred\n    pass\n"
    (one,) = read_symbols("a.py", source).definitions
    assert len(one.signature) == 100
    assert one.signature.endswith("...")


@pytest.mark.parametrize(
    ("path", "source", "reason"),
    [
        ("notes.md", b"# x", "is of no language that outline knows"),
        ("a.py", b"x = 1\0", "is no text"),
        ("a.py", b"#" * (MAX_BYTES + 1), "is larger than 512 KB"),
        ("a.cpp", HOSTILE["loose stars"], "is too broken to parse"),
    ],
)
def test_what_has_no_symbols_says_why(path: str, source: bytes, reason: str) -> None:
    with pytest.raises(NotParsed, match=reason):
        read_symbols(path, source)


@pytest.mark.parametrize(
    "ending",
    [
        "cpp",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("py", "ts", "rs", "rb", "php")),
    ],
)
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_sources_cost_a_moment_at_most(kind: str, ending: str) -> None:
    before = time.thread_time()
    with suppress(NotParsed):
        read_symbols(f"a.{ending}", HOSTILE[kind])
    assert time.thread_time() - before < 20  # what grows with the square takes longer


@settings(max_examples=80, deadline=None, database=None)
@given(
    ending=st.sampled_from(sorted(LANGUAGES)),
    name=st.sampled_from(sorted(SOURCES)),
    data=st.data(),
)
def test_no_damage_to_a_source_makes_it_fail(ending: str, name: str, data: st.DataObject) -> None:
    source = SOURCES[name][0].encode()
    start = data.draw(st.integers(0, len(source)))
    end = data.draw(st.integers(start, len(source)))
    damaged = source[:start] + data.draw(st.binary(max_size=12)).replace(b"\0", b"") + source[end:]
    symbols = read_symbols(f"a{ending}", damaged)
    for one in symbols.definitions:
        assert 1 <= one.first <= one.line <= one.last <= damaged.count(b"\n") + 1
