"""The forms in which people write the same body: at once, by a name, as a loop, as a comprehension.

Each function returns bodies for a template; $slots stay as they are.
"""


def returns(params: str, value: str) -> tuple[str, ...]:
    """Return the value at once, or under a name first."""
    return (
        f"def $f({params}):\n    return {value}",
        f"def $f({params}):\n    $t = {value}\n    return $t",
    )


def decides(params: str, condition: str) -> tuple[str, ...]:
    """Answer yes or no: the condition itself, or an `if` around it."""
    return (
        f"def $f({params}):\n    return {condition}",
        f"def $f({params}):\n    return {condition}",
        f"def $f({params}):\n    if {condition}:\n        return True\n    return False",
    )


def keeps(params: str, condition: str) -> tuple[str, ...]:
    """Keep each $x of $as that meets the condition."""
    return (
        f"def $f({params}):\n    return [$x for $x in $as if {condition}]",
        f"def $f({params}):\n    $t = []\n    for $x in $as:\n        if {condition}:\n"
        "            $t.append($x)\n    return $t",
    )


def counts(params: str, condition: str, items: str = "$as") -> tuple[str, ...]:
    """Count each $x that meets the condition."""
    return (
        f"def $f({params}):\n    count = 0\n    for $x in {items}:\n        if {condition}:\n"
        "            count += 1\n    return count",
        f"def $f({params}):\n    return sum(1 for $x in {items} if {condition})",
        f"def $f({params}):\n    return len([$x for $x in {items} if {condition}])",
    )


def maps(params: str, value: str) -> tuple[str, ...]:
    """Turn each $x of $as into the value."""
    return (
        f"def $f({params}):\n    return [{value} for $x in $as]",
        f"def $f({params}):\n    $t = []\n    for $x in $as:\n        $t.append({value})\n"
        "    return $t",
    )


def sums(params: str, value: str, target: str = "$x", items: str = "$as") -> tuple[str, ...]:
    """Add up a value of each item."""
    return (
        f"def $f({params}):\n    $t = 0\n    for {target} in {items}:\n"
        f"        $t += {value}\n    return $t",
        f"def $f({params}):\n    return sum({value} for {target} in {items})",
    )


def every(params: str, condition: str, opposite: str) -> tuple[str, ...]:
    """Answer whether each $x of $as meets the condition."""
    return (
        f"def $f({params}):\n    return all({condition} for $x in $as)",
        f"def $f({params}):\n    for $x in $as:\n        if {opposite}:\n"
        "            return False\n    return True",
    )


def some(params: str, condition: str) -> tuple[str, ...]:
    """Answer whether some $x of $as meets the condition."""
    return (
        f"def $f({params}):\n    return any({condition} for $x in $as)",
        f"def $f({params}):\n    for $x in $as:\n        if {condition}:\n"
        "            return True\n    return False",
    )
