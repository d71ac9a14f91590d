"""The JSON schema of all settings as a file: what the workflow checks, and people look up."""

import json
from pathlib import Path

from synthmed.commands.params import params_schema
from synthmed.core.files import write_text


def schema_text() -> str:
    """The schema as JSON, one line a setting, so that a changed setting is a changed line."""
    whole = params_schema()
    definitions = whole.pop("$defs")
    head = json.dumps(whole, ensure_ascii=False)[:-1]
    blocks = [f"{json.dumps(name)}: {_block(definition)}" for name, definition in sorted(definitions.items())]
    return head + ', "$defs": {\n' + ",\n".join(blocks) + "\n}}\n"


def _block(definition: dict) -> str:
    settings = definition.pop("properties")
    lines = [f"  {json.dumps(name)}: {json.dumps(setting, ensure_ascii=False)}" for name, setting in settings.items()]
    head = json.dumps(definition, ensure_ascii=False)[:-1]
    return head + ', "properties": {\n' + ",\n".join(lines) + "\n }}"


def write_schemas(folder: Path) -> Path:
    """Write `params.schema.json` into `folder`; returns its path."""
    path = folder / "params.schema.json"
    write_text(path, schema_text())
    return path
