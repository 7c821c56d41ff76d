"""What the editor says to the model when an edit cannot be made: the cause, and what to try."""

from collections.abc import Sequence

from tools.match import Region, line_at
from tools.textfile import split_lines
from tools.truncate import number_lines

NUM_REGION_LINES = 40
_NUM_LISTED = 10


def stale(path: str) -> str:
    """The file is no longer what the model has seen."""
    return f"{path} changed since you read it; view it again."


def ambiguous(path: str, text: str, offsets: Sequence[int]) -> str:
    """The text to replace is there more than once."""
    numbers = [str(line_at(text, offset)) for offset in offsets[:_NUM_LISTED]]
    if len(offsets) > _NUM_LISTED:
        numbers.append("...")
    return (
        f"old_str occurs {len(offsets)} times in {path} (lines {', '.join(numbers)}); "
        "give more lines so that it occurs once."
    )


def numbered(path: str) -> str:
    """The text to replace was copied with the numbers of a view."""
    return f"old_str not found in {path}; leave out the line numbers that view shows."


def applied(path: str, line: int, is_old_there: bool = False) -> str:
    """The edit was made before."""
    rest = "." if is_old_there else " and old_str is not."
    return f"Already applied: new_str is in {path} at line {line}{rest}"


def not_found(path: str, text: str, regions: Sequence[Region]) -> str:
    """The text to replace is not there; these regions are most like it."""
    if not regions:
        return f"old_str not found in {path}, nor anything like it; view the file."
    lines = split_lines(text)
    shown = [f"old_str not found in {path}. Closest:"]
    for region in regions:
        shown.append(f"lines {region.first}-{region.last} ({region.percent} % alike):")
        rows = lines[region.first - 1 : region.last]
        shown.append(number_lines(rows, region.first, max_lines=NUM_REGION_LINES))
    return "\n".join(shown)


def by_number(sentence: str) -> str:
    """Add the other way to replace lines, for who missed twice."""
    return (
        f"{sentence}\nOr replace whole lines by number: str_replace with view_range [first, last] "
        "and new_str, without old_str."
    )


def unseen(path: str, first: int, last: int) -> str:
    """The numbers of these lines may not be what the model thinks."""
    return f"Lines {first}-{last} of {path} were not shown as they are now; view them first."


def out_of_range(path: str, num_lines: int) -> str:
    """The lines are not in the file."""
    return (
        f"view_range must be [first, last], within 1 to {num_lines}; {path} has {num_lines} lines."
    )
