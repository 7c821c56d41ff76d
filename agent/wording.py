"""Finds and fills the words for the model, which live in `prompts/*.md`; holds none itself."""

from importlib import resources


def prompt(name: str, **values: str) -> str:
    """Return the text of `prompts/<name>.md` with `values` filled in, without its last newline."""
    file = resources.files("agent").joinpath("prompts", f"{name}.md")
    template = file.read_text(encoding="utf-8").removesuffix("\n")
    # `format` looks at the template only: braces inside the values stay as they are.
    return template.format(**values) if values else template
