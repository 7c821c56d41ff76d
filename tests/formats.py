"""What a file of ours must look like to be read by others: checks against their schemas."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import xmlschema

SCHEMAS = Path(__file__).parent / "schemas"
PUBLISHED = Path(__file__).parent.parent / "docs" / "fix.schema.json"


def check_sarif(content: bytes) -> Any:
    """Return a SARIF log that is valid."""
    return _checked(json.loads(content), SCHEMAS / "sarif-2.1.0.json")


def check_action(metadata: Any) -> None:
    """Make sure that the metadata of a GitHub action is valid."""
    _checked(metadata, SCHEMAS / "github-action.json")


def check_report(content: str) -> Any:
    """Return a document of `--json` that is valid by the published schema."""
    return _checked(json.loads(content), PUBLISHED)


def check_junit(content: bytes) -> None:
    """Make sure that JUnit XML is valid."""
    _junit_schema().validate(content.decode())


def _checked(value: Any, schema: Path) -> Any:
    _validator(schema).validate(value)
    return value


@cache
def _validator(path: Path) -> Any:
    schema = json.loads(path.read_text())
    return jsonschema.validators.validator_for(schema)(schema)


@cache
def _junit_schema() -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(SCHEMAS / "junit.xsd")
