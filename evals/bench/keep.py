"""What a benchmark found, kept in a folder: a page to read, its JSON, and a plot where it has one.

A benchmark that prints a `Report` (`roofline.py`) has a table and may have a plot; of any other the
figures are listed as they come. Where the folder has a README.md, what is below its last heading
`Results` becomes the list of all that is kept there.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from evals.bench.machine import load, moment
from evals.bench.plot import plot
from evals.bench.roofline import Ceilings, Figure, table

RESULTS = "\n## Results\n"


class NothingToKeep(Exception):
    """A benchmark printed no JSON; the text is one sentence for the user."""


def make_room(folder: Path) -> None:
    """Make the folder and see that it can be written to, before long measuring is for nothing.

    Raises:
        OSError: it cannot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error


def keep(line: str, command: str, folder: Path) -> Path:
    """Write what a benchmark printed last into a folder that is there; return the page.

    Raises:
        NothingToKeep: it is no JSON of a benchmark.
    """
    try:
        report = json.loads(line)
        name = report["bench"]
    except (ValueError, TypeError, KeyError) as error:
        raise NothingToKeep("its last line is no JSON, so nothing was kept") from error
    report.setdefault("date", moment())
    report.setdefault("load", load())
    report["command"] = command
    (folder / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    figures = _figures(report)
    if picture := plot(name, figures):
        (folder / f"{name}.svg").write_text(picture, encoding="utf-8")
    page = folder / f"{name}.md"
    page.write_text(_page(report, figures, has_plot=bool(picture)), encoding="utf-8")
    _list_results(folder)
    return page


def _figures(report: Mapping[str, Any]) -> list[Figure]:
    rows = report.get("figures")
    names = [field.name for field in fields(Figure)]
    if not (isinstance(rows, list) and all(isinstance(row, dict) for row in rows)):
        return []
    return [Figure(**{name: row[name] for name in names}) for row in rows]


def _page(report: Mapping[str, Any], figures: list[Figure], has_plot: bool) -> str:
    name = report["bench"]
    parts = [f"# {name}", f"`{report['command']}`", where_of(report)]
    if ceilings := report.get("ceilings"):
        parts.append(Ceilings(**ceilings).words() + ".")
    if figures:
        parts.append(table(figures))
        rest = report.get("beside", {})
    else:
        about = ("bench", "machine", "date", "command", "load")
        rest = {key: value for key, value in report.items() if key not in about}
    if has_plot:
        parts.append(f"![cost against tokens]({name}.svg)")
    parts += ["\n".join(_listed(rest))] if rest else []
    return "\n\n".join(parts) + "\n"


def where_of(report: Mapping[str, Any]) -> str:
    """Say in a line when and on what something was measured."""
    machine = report.get("machine", {})
    if not isinstance(machine, dict):
        return f"{report['date']}, {machine}."
    parts = [report["date"], machine.get("gpu"), machine.get("cpu")]
    if "num_threads" in machine:
        parts.append(f"{machine['num_threads']} of {machine.get('num_usable_cores')} cores")
    parts.append(", ".join(machine.get("cpu_features", ())))
    if "load" in report:
        parts.append(f"load {report['load']}")
    parts += [f"{name} {version}" for name, version in machine.get("versions", {}).items()]
    return ", ".join(str(part) for part in parts if part) + "."


def _listed(values: Mapping[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        words = value if isinstance(value, str | int | float) else f"`{json.dumps(value)}`"
        yield f"- {key}: {words}"


def _list_results(folder: Path) -> None:
    """Bring the list in the folder's README up to date."""
    index = folder / "README.md"
    if not index.exists():
        return
    head, heading, _ = index.read_text(encoding="utf-8").rpartition(RESULTS)
    if not heading:
        return
    lines = [f"- [{one['bench']}]({one['bench']}.md): {where_of(one)}" for one in _kept(folder)]
    index.write_text(f"{head}{heading}\n" + "\n".join(lines) + "\n", encoding="utf-8")


def _kept(folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield what is kept in a folder, by name; other files may lie there too."""
    for file in sorted(folder.glob("*.json")):
        try:
            report = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            continue
        if isinstance(report, dict) and report.get("bench") == file.stem and "date" in report:
            yield report
