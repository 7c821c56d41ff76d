"""Functions in eight languages, to make files of: data, no code.

`$name` is the function's, `$a`, `$b` and `$item` are words, `$k` and `$m` numbers, `$op` a sign.
Each shape has one line that an edit is about: the one with the marker.
"""

from dataclasses import dataclass

PRODUCT, COUNT, REPORT = "$a $op $b", "count + $k", "$item done"
"""What the marked line of each shape holds; the lines of `COUNT` are the same in every function."""


@dataclass(frozen=True)
class Language:
    """How a file of one language is made."""

    name: str
    suffix: str
    head: str
    shapes: tuple[str, str, str]
    """A product, a count, a report; each begins with its signature."""
    comment: str
    """A line that means nothing to the language."""
    tail: str = ""
    margin: str = ""
    """What every line of a function begins with: it is inside of a class."""


PYTHON = Language(
    "Python",
    ".py",
    '"""Prices and counts."""\n\nimport math\n',
    (
        '''def $name($a, $b):
    """Combine both values."""
    if $a < $m:
        return $b
    total = $a $op $b
    return math.floor(total)
''',
        """def $name(values):
    count = 0
    for value in values:
        if value > 0 and value < 100:
            count = count + $k
    return count
""",
        """def $name(values):
    if not values:
        raise ValueError("nothing to report")
    print("$item done\\n" + "\\t".join(values))
    return len(values)
""",
    ),
    "# Checked by hand.",
)
JAVASCRIPT = Language(
    "JavaScript",
    ".js",
    '"use strict";\n\nconst fs = require("fs");\n',
    (
        """function $name($a, $b) {
  if ($a < $m) {
    return $b;
  }
  const total = $a $op $b;
  return Math.floor(total);
}
""",
        """function $name(values) {
  let count = 0;
  for (const value of values) {
    if (value > 0 && value < 100) {
      count = count + $k;
    }
  }
  return count;
}
""",
        """function $name(values) {
  if (!values.length) {
    throw new Error("nothing to report");
  }
  console.log("$item done\\n" + values.join("\\t"));
  return values.length;
}
""",
    ),
    "// Checked by hand.",
    "module.exports = { fs };\n",
)
TYPESCRIPT = Language(
    "TypeScript",
    ".ts",
    'import { Logger } from "./logger";\n\nconst log = new Logger();\n',
    (
        """export function $name($a: number, $b: number): number {
  if ($a < $m) {
    return $b;
  }
  const total: number = $a $op $b;
  return Math.floor(total);
}
""",
        """export function $name(values: number[]): number {
  let count = 0;
  for (const value of values) {
    if (value > 0 && value < 100) {
      count = count + $k;
    }
  }
  return count;
}
""",
        """export function $name(values: string[]): number {
  if (!values.length) {
    throw new Error("nothing to report");
  }
  log.info(`$item done\\n` + values.join("\\t"));
  return values.length;
}
""",
    ),
    "// Checked by hand.",
)
GO = Language(
    "Go",
    ".go",
    'package shop\n\nimport (\n\t"errors"\n\t"fmt"\n)\n',
    (
        """func $name($a int, $b int) int {
	if $a < $m {
		return $b
	}
	total := $a $op $b
	return total
}
""",
        """func $name(values []int) int {
	count := 0
	for _, value := range values {
		if value > 0 && value < 100 {
			count = count + $k
		}
	}
	return count
}
""",
        """func $name(values []string) error {
	if len(values) == 0 {
		return errors.New("nothing to report")
	}
	fmt.Printf("$item done\\n%d\\t", len(values))
	return nil
}
""",
    ),
    "// Checked by hand.",
)
RUST = Language(
    "Rust",
    ".rs",
    "use std::fmt::Debug;\n\n#[derive(Debug)]\npub struct Empty;\n",
    (
        """pub fn $name($a: i64, $b: i64) -> i64 {
    if $a < $m {
        return $b;
    }
    let total = $a $op $b;
    total.abs()
}
""",
        """pub fn $name(values: &[i64]) -> i64 {
    let mut count = 0;
    for value in values {
        if *value > 0 && *value < 100 {
            count = count + $k;
        }
    }
    count
}
""",
        """pub fn $name<'a>(values: &'a [String]) -> Result<usize, Empty> {
    if values.is_empty() {
        return Err(Empty);
    }
    print!("$item done\\n{}\\t", values.len());
    Ok(values.len())
}
""",
    ),
    "// Checked by hand.",
)
JAVA = Language(
    "Java",
    ".java",
    "package shop;\n\nimport java.util.List;\n\npublic final class Prices {\n",
    (
        """public static int $name(int $a, int $b) {
    if ($a < $m) {
        return $b;
    }
    int total = $a $op $b;
    return Math.abs(total);
}
""",
        """public static int $name(List<Integer> values) {
    int count = 0;
    for (int value : values) {
        if (value > 0 && value < 100) {
            count = count + $k;
        }
    }
    return count;
}
""",
        """public static int $name(List<String> values) {
    if (values.isEmpty()) {
        throw new IllegalStateException("nothing to report");
    }
    System.out.print("$item done\\n" + String.join("\\t", values));
    return values.size();
}
""",
    ),
    "// Checked by hand.",
    "}\n",
    "    ",
)
C = Language(
    "C",
    ".c",
    '#include <stdio.h>\n\n#define BREAK "\\n"\n',
    (
        """int $name(int $a, int $b)
{
	if ($a < $m) {
		return $b;
	}
	int total = $a $op $b;
	return total;
}
""",
        """int $name(const int *values, int size)
{
	int count = 0;
	for (int i = 0; i < size; i++) {
		if (values[i] > 0 && values[i] < 100) {
			count = count + $k;
		}
	}
	return count;
}
""",
        """int $name(const char *values, int size)
{
	if (size == 0) {
		return -1;
	}
	printf("$item done\\n%s\\t", values);
	putchar('\\n');
	return size;
}
""",
    ),
    "/* Checked by hand. */",
)
RUBY = Language(
    "Ruby",
    ".rb",
    'require "set"\n\nmodule Shop\n',
    (
        """def self.$name($a, $b)
  return $b if $a < $m
  total = $a $op $b
  total.floor
end
""",
        """def self.$name(values)
  count = 0
  values.each do |value|
    if value > 0 && value < 100
      count = count + $k
    end
  end
  count
end
""",
        """def self.$name(values)
  raise ArgumentError, "nothing to report" if values.empty?
  puts "$item done\\n" + values.join("\\t")
  values.length
end
""",
    ),
    "# Checked by hand.",
    "end\n",
    "  ",
)
LANGUAGES = (PYTHON, JAVASCRIPT, TYPESCRIPT, GO, RUST, JAVA, C, RUBY)
