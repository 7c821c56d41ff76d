"""What an outline keeps, language by language, and that nothing can make it fail."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.file_outline import MAX_WHOLE_LINES, outline_file
from tools.languages import LANGUAGES

WORDS = [
    *("def", "class", "import", "from", "fn", "impl", "func", "package", "struct", "template"),
    *("module", "end", "if", "=", "()", "{}", ":", "\n"),
]
PAD = {"py": "#", "rb": "#", "sh": "#"}

SOURCES = {
    "cart.py": (
        '''"""A shop.

More words.
"""
from __future__ import annotations
import os
RATE = 3
if True:
    import sys

@dataclass(frozen=True)
class Cart(Base):
    """Holds things."""
    items: int = 3

    @property
    def total(self, a: int,
              b: int) -> str:
        r"""Sum up."""
        return SECRET_OF_BODY

    async def add(self): return 2

def outer():
    def inner(): pass
    return inner
''',
        '''"""A shop."""
from __future__ import annotations
import os
    import sys
@dataclass(frozen=True)
class Cart(Base): ...
    """Holds things."""
    @property
    def total(self, a: int,
              b: int) -> str: ...
        """Sum up."""
    async def add(self): ...
def outer(): ...
''',
    ),
    "cart.ts": (
        """import {x} from "./x";
/** Adds.
 * @param a
 */
export function add(a: number): number { return a; }
export const twice = (a: number) => { return a; };
const data = {a: 1};
export default class Cart<T> extends Base {
  private x = 1;
  // Says it.
  say(a: string): void { console.log(a) }
}
export interface Item { a: string; b(): void }
type Name = string | number;
""",
        """import {x} from "./x";
// Adds.
export function add(a: number): number ...
export const twice = (a: number) => ...
export default class Cart<T> extends Base ...
  // Says it.
  say(a: string): void ...
export interface Item { a: string; b(): void }
type Name = string | number;
""",
    ),
    "view.tsx": (
        "export function View(p: Props) { return <b>{p.x}</b>; }\n",
        "export function View(p: Props) ...\n",
    ),
    "cart.js": (
        """const fs = require("fs");
const data = { a: 1 };
async function go(a) { await a; }
class Cart {
  constructor(x) { this.x = x; }
  static all() { return 1; }
}
module.exports = { go };
""",
        """const fs = require("fs");
async function go(a) ...
class Cart ...
  constructor(x) ...
  static all() ...
""",
    ),
    "cart.go": (
        """package main
import "fmt"
// Cart holds things.
type Cart struct { items []int }
// Total sums.
func (c *Cart) Total(x int) (int, error) { return 1, nil }
func main() { fmt.Println("x") }
""",
        """package main
import "fmt"
// Cart holds things.
type Cart struct { items []int }
// Total sums.
func (c *Cart) Total(x int) (int, error) ...
func main() ...
""",
    ),
    "cart.rs": (
        """use std::io;
/// A cart.
/// More.
#[derive(Debug)]
pub struct Cart { a: u8 }
impl Cart {
    /// A new one.
    pub fn new(a: u8) -> Self { Cart { a } }
}
pub trait Sum { fn x(&self); }
fn main() { println!("x"); }
""",
        """use std::io;
// A cart.
pub struct Cart { a: u8 }
impl Cart ...
    // A new one.
    pub fn new(a: u8) -> Self ...
pub trait Sum ...
fn x(&self);
fn main() ...
""",
    ),
    "Cart.java": (
        """package a.b;
import java.util.*;
/** A cart. */
public class Cart extends Base {
  private int x = 1;
  @Override
  public int total(int a) throws E { return a; }
  enum Kind { A, B }
}
interface Sum {
  void add(int a);
}
""",
        """package a.b;
import java.util.*;
// A cart.
public class Cart extends Base ...
  @Override
  public int total(int a) throws E ...
  enum Kind ...
interface Sum ...
  void add(int a);
""",
    ),
    "cart.c": (
        """#include <stdio.h>
struct cart { int a; };
static int rate = 3;
int add(int a, int b);
/* Sums. */
int add(int a, int b) { return a + b; }
""",
        """#include <stdio.h>
struct cart { int a; }
int add(int a, int b);
// Sums.
int add(int a, int b) ...
""",
    ),
    "cart.hpp": (
        """#pragma once
#include <vector>
namespace shop {
template <typename T>
class Cart : public Base {
 public:
  Cart(int a) : x(a) { y(); }
  virtual int total() const = 0;
  T* first();
  int data;
};
}
""",
        """#include <vector>
namespace shop ...
template <typename T>
class Cart : public Base ...
  Cart(int a) : x(a) ...
  virtual int total() const = 0;
  T* first();
""",
    ),
    "cart.rb": (
        """require "json"
module Shop
  class Cart < Base
    include Enumerable
    # Makes one.
    def initialize(x)
      @x = x
    end
  end
end
puts 1
""",
        """require "json"
module Shop ...
  class Cart < Base ...
    include Enumerable
    # Makes one.
    def initialize(x) ...
""",
    ),
    "cart.cs": (
        """using Shop.Rates;
namespace Shop
{
    // Holds things.
    public class Cart : Base
    {
        public List<Row> Rows { get; set; }
        public int Total(int rate)
        {
            return Tax.Of(Rows, rate);
        }
    }
}
""",
        """using Shop.Rates;
namespace Shop ...
    // Holds things.
    public class Cart : Base ...
        public List<Row> Rows { get; set; }
        public int Total(int rate) ...
""",
    ),
    "cart.php": (
        """<?php
namespace Shop;
use Rates;
class Cart extends Base {
    private array $rows = [];
    // Opens it.
    public function open(Row $at): bool {
        return secret($at);
    }
}
function main() { return new Cart(); }
""",
        """namespace Shop;
use Rates;
class Cart extends Base ...
    private array $rows = [];
    // Opens it.
    public function open(Row $at): bool ...
function main() ...
""",
    ),
    "cart.sh": (
        """LIMIT=3
# Sums up.
total() {
  echo "$LIMIT"
}
""",
        """# Sums up.
total() ...
""",
    ),
}


def padded(name: str, text: str) -> str:
    """Make a file long enough that its outline is shorter in any case."""
    return text + f"\n{PAD.get(name.rpartition('.')[2], '//')} pad" * 40


@pytest.mark.parametrize("name", SOURCES)
def test_imports_signatures_and_first_words_are_kept_and_bodies_are_not(name: str) -> None:
    source, expected = SOURCES[name]
    assert outline_file(name, padded(name, source)) == expected


def test_a_long_declaration_is_cut() -> None:
    fields = "".join(f"\tField{n} int\n" for n in range(40))
    short = outline_file("a.go", f"package a\ntype T struct {{\n{fields}}}\n")
    assert short is not None
    assert short.count("\n") == 1 + MAX_WHOLE_LINES
    assert short.endswith("...\n")


@pytest.mark.parametrize("name", ["notes.md", "data.json", "Makefile", "x.unknown", "py"])
def test_a_file_of_another_kind_has_no_outline(name: str) -> None:
    assert outline_file(name, "def f():\n    return 1\n" * 50) is None


def test_an_outline_that_would_not_be_shorter_is_none() -> None:
    assert outline_file("a.py", "import os\n") is None
    assert outline_file("a.py", "") is None


def test_text_beyond_ascii_keeps_its_letters() -> None:
    short = outline_file(
        "a.py", 'def größe(ß: "é") -> None:\n    """Ünïcödé \U0001f600."""\n    x = 1\n'
    )
    assert short == 'def größe(ß: "é") -> None: ...\n    """Ünïcödé \U0001f600."""\n'


@pytest.mark.parametrize("name", ["a.py", "a.js", "a.cpp", "a.rs"])
def test_deep_nesting_ends(name: str) -> None:
    for text in (
        "(" * 20_000,
        "class A { " * 2000,
        "".join(f"{'  ' * n}class A:\n" for n in range(300)),
    ):
        outline_file(name, text)  # returns


@settings(max_examples=150, deadline=None, database=None)
@given(
    name=st.sampled_from(sorted(LANGUAGES)),
    text=st.text(
        st.one_of(st.sampled_from("(){}[]<>:;=,.\"'\\\n\t #/*@abcdef"), st.characters()),
        max_size=200,
    ),
    words=st.lists(st.sampled_from(WORDS), max_size=30),
)
def test_no_text_makes_it_fail_and_every_outline_is_shorter(
    name: str, text: str, words: list[str]
) -> None:
    source = text + " ".join(words)
    short = outline_file(f"a{name}", source)
    assert short is None or 0 < len(short) < len(source)
