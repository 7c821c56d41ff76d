"""Function templates on strings: case, trimming, joining, splitting, slices, searching."""

from evals.nano.forms import counts, decides, returns
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
        "split_$nouns parse_$nouns",
        "Split the text at its commas.",
        returns("text", 'text.split(",")'),
        "commas",
        bugs=(("constant", '","', '";"'), ("constant", '","', '" "')),
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
        "last_word_$noun closing_word_$noun",
        "Return the last word of the $a.",
        (
            "def $f($a):\n    return $a.split()[-1]",
            "def $f($a):\n    words = $a.split()\n    return words[-1]",
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
    Template(
        "is_blank_$noun is_empty_$noun",
        "Tell whether the $a holds nothing but spaces.",
        decides("$a", '$a.strip() == ""'),
        edges=('("  ",)', '("",)', '("${v}",)'),
    ),
    Template(
        "count_vowels_$noun vowels_in_$noun",
        "Count the vowels of the $a.",
        counts("$a", '$x in "aeiou"', "$a"),
        "word",
    ),
    Template(
        "backwards_$noun mirror_$noun",
        "Return the $a backwards.",
        (
            "def $f($a):\n    return $a[::-1]",
            'def $f($a):\n    return "".join(reversed($a))',
            """
def $f($a):
    $t = ""
    for $x in $a:
        $t = $x + $t
    return $t
""",
        ),
        "word",
    ),
    Template(
        "first_letter_$noun initial_of_$noun",
        "Return the first letter of the $a, as a capital.",
        returns("$a", "$a[0].upper()"),
        "word",
    ),
    Template(
        "repeat_$noun echo_$noun",
        "Repeat the $a.",
        returns("$a, times=2", "$a * times"),
        edges=('("${v}",)', '("ab", 3)', '("${w}", 1)'),
    ),
    Template(
        "full_name_$noun complete_name_$noun",
        "Return the first and the last name.",
        (
            'def $f(first, last):\n    return f"{first} {last}"',
            'def $f(first, last):\n    return first + " " + last',
        ),
        "Word Word",
    ),
)
