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
        "title_$noun headline_$noun",
        "Begin each word of the $a with a capital.",
        returns("$a", "$a.title()"),
        "text",
    ),
    Template(
        "capitalize_$noun start_${noun}_with_capital",
        "Begin the $a with a capital.",
        returns("$a", "$a.capitalize()"),
        "text",
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
        "trim_$noun strip_$noun",
        "Remove spaces at both ends of the $a.",
        returns("$a", "$a.strip()"),
        edges=('(" ${v} ",)', '("${w} ",)', '(" ${w}",)'),
        without=("constant",),
    ),
    Template(
        "join_$nouns ${nouns}_to_text",
        "Join the $as with commas.",
        returns("$as", '", ".join($as)'),
        "words",
    ),
    Template(
        "dash_$nouns ${nouns}_with_dashes",
        "Join the $as with dashes.",
        returns("$as", '"-".join($as)'),
        "words",
    ),
    Template(
        "join_${nouns}_with link_$nouns",
        "Join the $as with the separator.",
        (
            'def $f($as, separator=" "):\n    return separator.join($as)',
            'def $f($as, separator=" "):\n    $t = separator.join($as)\n    return $t',
        ),
        edges=('(["${v}", "${w}"],)', '(["${w}", "red", "${v}"], "-")', '(["a", "b"],)'),
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
        "lacks_$noun is_without_$noun",
        "Tell whether the $b is not in the text.",
        decides("text, $b", "$b not in text"),
        edges=('("apple pie", "pie")', '("stone", "x")', '("cloud", "lou")'),
    ),
    Template(
        "same_$noun matches_$noun",
        "Compare $a and $b, whatever their case.",
        decides("$a, $b", "$a.lower() == $b.lower()"),
        edges=('("Apple", "apple")', '("STONE", "Stone")', '("red", "blue")'),
    ),
    Template(
        "is_blank_$noun is_empty_$noun",
        "Tell whether the $a holds nothing but spaces.",
        decides("$a", '$a.strip() == ""'),
        edges=('("  ",)', '("",)', '("${v}",)'),
    ),
    Template(
        "is_number_$noun has_digits_only_$noun",
        "Tell whether the $a is all digits.",
        decides("$a", "$a.isdigit()"),
        edges=('("${q}",)', '("${v}",)', '("4x",)'),
    ),
    Template(
        "count_vowels_$noun vowels_in_$noun",
        "Count the vowels of the $a.",
        counts("$a", '$x in "aeiou"', "$a"),
        "word",
    ),
    Template(
        "count_capitals_$noun capitals_in_$noun",
        "Count the capital letters of the $a.",
        counts("$a", "$x.isupper()", "$a"),
        "mixed",
        edges=('("aBcDe",)',),
    ),
    Template(
        "count_letter_$noun letters_in_$noun",
        "Count how often the letter is in the $a.",
        (
            *counts("$a, letter", "$x == letter", "$a"),
            "def $f($a, letter):\n    return $a.count(letter)",
        ),
        edges=('("apple", "p")', '("banana", "a")', '("stone", "x")'),
    ),
    Template(
        "remove_vowels_$noun without_vowels_$noun",
        "Return the $a without its vowels.",
        (
            'def $f($a):\n    return "".join($x for $x in $a if $x not in "aeiou")',
            """
def $f($a):
    $t = ""
    for $x in $a:
        if $x not in "aeiou":
            $t += $x
    return $t
""",
        ),
        "word",
    ),
    Template(
        "keep_digits_$noun digits_of_$noun",
        "Return only the digits of the $a.",
        (
            'def $f($a):\n    return "".join($x for $x in $a if $x.isdigit())',
            """
def $f($a):
    $t = ""
    for $x in $a:
        if $x.isdigit():
            $t += $x
    return $t
""",
        ),
        edges=('("a1b2",)', '("${q}x",)'),
    ),
    Template(
        "is_palindrome_$noun is_mirror_$noun",
        "Tell whether the $a reads the same backwards.",
        decides("$a", "$a == $a[::-1]"),
        edges=('("level",)', '("${v}",)', '("noon",)'),
        without=("variable",),
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
        "last_letter_$noun ending_of_$noun",
        "Return the last letter of the $a.",
        returns("$a", "$a[-1]"),
        "word",
    ),
    Template(
        "short_$noun head_of_$noun",
        "Return the first size letters of the $a.",
        returns("$a, size", "$a[:size]"),
        edges=('("${v}", 3)', '("${w}", 2)'),
    ),
    Template(
        "end_of_$noun tail_letters_$noun",
        "Return the last size letters of the $a.",
        returns("$a, size", "$a[-size:]"),
        edges=('("${v}", 3)', '("${w}", 1)'),
    ),
    Template(
        "initials_of_$noun abbreviate_$noun",
        "Return the first letter of each word, as capitals.",
        (
            'def $f($a):\n    return "".join(word[0].upper() for word in $a.split())',
            """
def $f($a):
    $t = ""
    for word in $a.split():
        $t += word[0].upper()
    return $t
""",
        ),
        "text",
    ),
    Template(
        "truncate_$noun shorten_$noun",
        "Cut the $a after limit letters and mark the cut.",
        (
            """
def $f($a, limit):
    if len($a) <= limit:
        return $a
    return $a[:limit] + "..."
""",
            """
def $f($a, limit):
    if len($a) > limit:
        return $a[:limit] + "..."
    return $a
""",
        ),
        edges=('("apples", 6)', '("${v}", 3)', '("red", 5)'),
    ),
    Template(
        "repeat_$noun echo_$noun",
        "Repeat the $a.",
        returns("$a, times=2", "$a * times"),
        edges=('("${v}",)', '("ab", 3)', '("${w}", 1)'),
    ),
    Template(
        "slug_of_$noun slugify_$noun",
        "Write the $a small, with dashes for spaces.",
        (
            'def $f($a):\n    return $a.lower().replace(" ", "-")',
            'def $f($a):\n    $t = $a.lower()\n    return $t.replace(" ", "-")',
        ),
        edges=('("Red ${v}",)', '("Two Big ${w}",)'),
    ),
    Template(
        "squeeze_$noun without_spaces_$noun",
        "Return the $a without spaces.",
        (
            'def $f($a):\n    return $a.replace(" ", "")',
            'def $f($a):\n    return "".join($a.split())',
        ),
        "text",
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
    Template(
        "sorted_name_$noun index_name_$noun",
        "Return the last name, a comma and the first name.",
        (
            'def $f(first, last):\n    return f"{last}, {first}"',
            'def $f(first, last):\n    return last + ", " + first',
        ),
        "Word Word",
    ),
    Template(
        "greet_$noun welcome_$noun",
        "Greet someone.",
        (
            'def $f(name, greeting="Hello"):\n    return f"{greeting} {name}"',
            'def $f(name, greeting="Hello"):\n    return greeting + " " + name',
        ),
        edges=('("Ann",)', '("Bob", "Hi")'),
        bugs=(
            ("default", '"Hello"', '"Bye"'),
            ("default", '"Hello"', '"Hi"'),
            ("default", '"Hello"', '""'),
        ),
    ),
    Template(
        "label_$noun tag_$noun",
        "Write the name and its value.",
        (
            'def $f(name, $a):\n    return f"{name}: {$a}"',
            'def $f(name, $a):\n    return name + ": " + str($a)',
        ),
        "word int",
    ),
    Template(
        "mask_$noun hide_$noun",
        "Show only the last four letters of the $a.",
        returns("$a", '"*" * (len($a) - 4) + $a[-4:]'),
        edges=('("${v}${w}",)', '("12345678",)'),
    ),
    Template(
        "domain_of_$noun host_of_$noun",
        "Return what follows the @ of an address.",
        (
            'def $f(address):\n    return address.split("@")[1]',
            'def $f(address):\n    return address.split("@")[-1]',
        ),
        edges=('("ann@${v}.org",)', '("bob@${w}.com",)'),
    ),
    Template(
        "user_of_$noun name_in_$noun",
        "Return what stands before the @ of an address.",
        returns("address", 'address.split("@")[0]'),
        edges=('("ann@${v}.org",)', '("bob@${w}.com",)'),
    ),
    Template(
        "extension_of_$noun file_type_$noun",
        "Return what follows the last dot of a file's name.",
        returns("name", 'name.split(".")[-1]'),
        edges=('("${v}.txt",)', '("${w}.tar.gz",)'),
    ),
    Template(
        "longest_word_$noun widest_word_$noun",
        "Return the longest word of the $a.",
        (
            "def $f($a):\n    return max($a.split(), key=len)",
            """
def $f($a):
    best = ""
    for word in $a.split():
        if len(word) > len(best):
            best = word
    return best
""",
        ),
        edges=('("red yellow ab",)', '("a stone is",)'),
    ),
    Template(
        "word_lengths_$noun sizes_of_words_$noun",
        "List how long each word of the $a is.",
        (
            "def $f($a):\n    return [len(word) for word in $a.split()]",
            """
def $f($a):
    $t = []
    for word in $a.split():
        $t.append(len(word))
    return $t
""",
        ),
        edges=('("red yellow ab",)', '("a ${v}",)'),
    ),
    Template(
        "sum_of_text_$noun add_text_$nouns",
        "Add the numbers of a text such as 1,2,3.",
        (
            'def $f(text):\n    return sum(int(part) for part in text.split(","))',
            """
def $f(text):
    $t = 0
    for part in text.split(","):
        $t += int(part)
    return $t
""",
        ),
        edges=('("1,2,3",)', '("$q,$p",)'),
    ),
    Template(
        "pad_$noun align_$noun",
        "Pad the $a on the left to the size.",
        returns("$a, size=8", "$a.rjust(size)"),
        edges=('("ab", 4)', '("red",)', '("${v}", 9)'),
    ),
    Template(
        "code_of_$noun make_${noun}_code",
        "Join the $a and the number with a dash.",
        (
            'def $f($a, number):\n    return f"{$a}-{number}"',
            'def $f($a, number):\n    return $a + "-" + str(number)',
        ),
        "word int",
    ),
)
