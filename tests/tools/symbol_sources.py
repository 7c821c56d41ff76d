"""What defines and what refers to a name, language by language: one small source each."""

SOURCES = {
    "cart.py": (
        """from shop.rates import RATE, tax

LIMIT = 3

@register
class Cart(Base):
    items: int = LIMIT

    def total(self, rate=RATE):
        tax_of = [tax(row) for row in self.rows]
        return self.total_of(tax_of, items=3)

def main(total):
    def inner():
        return Cart()
    return inner, total
""",
        """
3-3 LIMIT
6-11 Cart
7-7   items
9-11   total
13-16 main
14-15   inner
""",
        {"tax": [1, 10], "Cart": [15], "LIMIT": [7], "items": [11]},
    ),
    "cart.js": (
        """import { tax } from "./rates.js";
const LIMIT = 3;
export const double = (row) => row * 2;
export class Cart extends Base {
  #rows = [];
  total(rate) {
    const first = tax(this.#rows, rate);
    return this.round(first, LIMIT);
  }
}
function* main() {
  yield new Cart().total(double);
}
""",
        """
2-2 LIMIT
3-3 double
4-10 Cart
5-5   #rows
6-9   total
11-13 main
""",
        {"tax": [1, 7], "Cart": [12], "double": [12], "total": [12]},
    ),
    "cart.ts": (
        """import { tax } from "./rates";
export type Row = { price: number };
export interface Shop extends Place {
  open(at: Row): boolean;
}
enum Size { Small, Large }
namespace inner {
  export function deep(row: Row): Size { return Size.Small; }
}
export abstract class Cart<T> extends Base implements Shop {
  private rows: Row[] = [];
  abstract close(): void;
  open(at: Row): boolean { return tax(at) > this.rows.length; }
}
""",
        """
2-2 Row
3-5 Shop
4-4   open
6-6 Size
7-9 inner
8-8   deep
10-14 Cart
11-11   rows
12-12   close
13-13   open
""",
        {"tax": [1, 13], "Row": [4, 8, 11, 13], "Size": [8, 8], "rows": [13]},
    ),
    "cart.tsx": (
        """import { Row } from "./rates";
export const Label = (props: Row) => <b>{props.text}</b>;
export function Cart({ rows }: { rows: Row[] }) {
  const first = rows[0];
  return <Label text={first} onClick={() => close(first)} />;
}
""",
        """
2-2 Label
3-6 Cart
""",
        {"Label": [5], "Row": [1, 2, 3], "close": [5]},
    ),
    "cart.go": (
        """package shop

import "fmt"

const Limit = 3

var (
	Rates = []int{1}
)

type Cart struct {
	Rows []Row
}

type Shop interface {
	Open(at Row) error
}

func (c *Cart) Total(rate int) int {
	first := Tax(c.Rows, rate)
	fmt.Println(first, Limit)
	return first
}

func main() {
	cart := &Cart{Rows: nil}
	cart.Total(Rates[0])
}
""",
        """
5-5 Limit
8-8 Rates
11-13 Cart
15-17 Shop
16-16   Open
19-23 Total
25-28 main
""",
        {"Tax": [20], "Cart": [19, 26], "Total": [27], "Rates": [27]},
    ),
    "cart.rs": (
        """use crate::rates::{tax, Row};

const LIMIT: u32 = 3;

macro_rules! twice { ($x:expr) => { $x * 2 }; }

pub struct Cart<T> {
    rows: Vec<Row>,
}

pub trait Shop {
    fn open(&self, at: Row) -> bool;
}

impl<T> Shop for Cart<T> {
    fn open(&self, at: Row) -> bool {
        let first = tax(at);
        first > twice!(LIMIT)
    }
}

mod inner {
    pub fn deep() -> u32 { super::Cart::new().rows.len() }
}
""",
        """
3-3 LIMIT
5-5 twice
7-9 Cart
11-13 Shop
12-12   open
15-20 Cart
16-19   open
22-24 inner
23-23   deep
""",
        {"tax": [1, 17], "Cart": [23], "twice": [18], "LIMIT": [18]},
    ),
    "Cart.java": (
        """package shop;

import shop.rates.Tax;

public class Cart extends Base implements Shop {
    static final int LIMIT = 3;
    private final List<Row> rows;

    Cart(List<Row> rows) { this.rows = rows; }

    @Override
    public int total(int rate) {
        int first = Tax.of(rows, rate);
        return round(first, LIMIT);
    }

    enum Size { SMALL }
    record Pair(Row a) { }
}
interface Shop { int total(int rate); }
""",
        """
5-19 Cart
6-6   LIMIT
7-7   rows
9-9   Cart
11-15   total
17-17   Size
18-18   Pair
20-20 Shop
20-20   total
""",
        {"Tax": [3, 13], "Row": [7, 9, 18], "round": [14], "LIMIT": [14]},
    ),
    "cart.c": (
        """#include "rates.h"
#define LIMIT 3
#define TWICE(x) ((x) * 2)

typedef struct row { int price; } Row;
enum size { SMALL, LARGE };
int total(Row *row, int rate);
static int calls = 0;

static Row *first(Row *rows)
{
    int cost = tax(rows->price, LIMIT);
    return cost > TWICE(calls) ? rows : 0;
}

int total(Row *row, int rate)
{
    return first(row)->price * rate;
}
""",
        """
2-2 LIMIT
3-3 TWICE
5-5   row
5-5 Row
6-6 size
6-6   SMALL
6-6   LARGE
7-7 total
8-8 calls
10-14 first
16-19 total
""",
        {"tax": [12], "Row": [7, 10, 10, 16], "first": [18], "TWICE": [13]},
    ),
    "cart.cpp": (
        """#include "rates.hpp"
namespace shop {
using Rows = std::vector<Row>;
template <typename T> class Cart : public Base {
 public:
  explicit Cart(Rows rows) : rows_(rows) {}
  int total(int rate) const;
  Row& first() { return rows_[0]; }
 private:
  Rows rows_;
};
int Cart::total(int rate) const {
  auto cost = tax(first(), rate);
  return rates::round(cost);
}
}
struct Pair { int a; };
""",
        """
2-16 shop
3-3   Rows
4-11   Cart
6-6     Cart
7-7     total
8-8     first
12-15   total
17-17 Pair
""",
        {"tax": [13], "Rows": [6, 10], "first": [13], "Base": [4]},
    ),
    "Cart.cs": (
        """using Shop.Rates;
namespace Shop.Carts
{
    public interface IShop { int Total(int rate); }
    public class Cart : Base, IShop
    {
        const int Limit = 3;
        public List<Row> Rows { get; set; }
        public Cart(List<Row> rows) { Rows = rows; }
        public int Total(int rate)
        {
            var first = Tax.Of(Rows, rate);
            return Round(first, Limit) + new Pair(first).A;
        }
    }
    enum Size { Small }
}
""",
        """
4-4 IShop
4-4   Total
5-15 Cart
7-7   Limit
8-8   Rows
9-9   Cart
10-14   Total
16-16 Size
""",
        {"Tax": [12], "IShop": [5], "Rows": [9, 12], "Limit": [13]},
    ),
    "cart.rb": (
        """require "rates"
module Shop
  LIMIT = 3
  class Cart < Base
    attr_reader :rows
    def initialize(rows)
      @rows = rows
    end
    def total(rate, step: 1)
      first = tax(rows, rate)
      rows.each { |row| round(row, LIMIT) }
      Rates::Table.new(first)
    end
    def self.empty
      new([])
    end
  end
end
""",
        """
2-18 Shop
3-3   LIMIT
4-17   Cart
6-8     initialize
9-13     total
14-16     empty
""",
        {"tax": [10], "Base": [4], "Table": [12], "LIMIT": [11]},
    ),
    "cart.php": (
        """<?php
namespace Shop;
use Rates\\Tax;
const LIMIT = 3;
interface Place { public function open(Row $at): bool; }
trait Logs { function log() {} }
class Cart extends Base implements Place {
    use Logs;
    const STEP = 1;
    private array $rows = [];
    public function open(Row $at): bool {
        $first = Tax::of($this->rows, self::STEP);
        return round_up($first, LIMIT) > $this->log();
    }
}
function main(): ?Cart { return new Cart(); }
""",
        """
4-4 LIMIT
5-5 Place
5-5   open
6-6 Logs
6-6   log
7-15 Cart
9-9   STEP
10-10   rows
11-14   open
16-16 main
""",
        {"Tax": [3, 12], "Cart": [16, 16], "log": [13], "LIMIT": [13]},
    ),
    "cart.sh": (
        """LIMIT=3
export RATE=2
function total() {
  local first=1
  tax "$first" "${RATE}" | round
}
main() {
  if total; then echo "$LIMIT"; fi
}
main
""",
        """
1-1 LIMIT
2-2 RATE
3-6 total
7-9 main
""",
        {"tax": [5], "total": [8], "RATE": [5], "LIMIT": [8]},
    ),
}
