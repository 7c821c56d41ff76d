"""Function templates on strings: case, trimming, joining, splitting, slices, searching."""

from evals.nano.forms import decides, returns
from evals.nano.pieces import Template

TEXTS = (
    Template(
        "shout_$noun upper_$noun",
        "Return the $a in capitals.",
        returns("$a", "$a.upper()"),
        "Word",
    ),
    Template(
        "whisper_$noun lower_case_$noun",
        "Return the $a in small letters.",
        returns("$a", "$a.lower()"),
        "mixed",
    ),
    Template(
        "clean_$noun normalize_$noun",
        "Trim the $a and write it small.",
        (
            "def $f($a):\n    return $a.strip().lower()",
            "def $f($a):\n    $t = $a.strip()\n    return $t.lower()",
        ),
        edges=('(" ${v} ",)', '("Red ",)', '(" BLUE",)'),
    ),
    Template(
        "join_$nouns ${nouns}_to_text",
        "Join the $as with commas.",
        returns("$as", '", ".join($as)'),
        "words",
    ),
    Template(
        "count_words_$noun num_words_$noun",
        "Count the words of the $a.",
        returns("$a", "len($a.split())"),
        "text",
        edges=('("",)',),
    ),
    Template(
        "first_word_$noun leading_word_$noun",
        "Return the first word of the $a.",
        (
            "def $f($a):\n    return $a.split()[0]",
            "def $f($a):\n    words = $a.split()\n    return words[0]",
        ),
        "text",
    ),
    Template(
        "starts_with_$noun has_${noun}_prefix",
        "Tell whether the $a starts with the $b.",
        decides("$a, $b", "$a.startswith($b)"),
        edges=('("apple", "app")', '("stone", "ne")', '("cloud", "x")'),
    ),
    Template(
        "ends_with_$noun has_${noun}_suffix",
        "Tell whether the $a ends with the $b.",
        decides("$a, $b", "$a.endswith($b)"),
        edges=('("apple", "app")', '("stone", "ne")', '("cloud", "x")'),
    ),
    Template(
        "contains_$noun mentions_$noun",
        "Tell whether the $b is in the text.",
        decides("text, $b", "$b in text"),
        edges=('("apple pie", "pie")', '("stone", "x")', '("cloud", "lou")'),
    ),
)
