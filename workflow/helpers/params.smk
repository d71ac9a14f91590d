# Settings as they were written: what YAML does to them without a word and what the schema refuses.
import json

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from synthmed.core import check_names as names
from synthmed.core.errors import InputError
from synthmed.core.settings import explain, without_nulls


def check_files(basedir, overlays):
    """Refuse settings files that are no YAML or have a key twice, of which the last would count."""
    for path in [f"{basedir}/params.yaml", *overlays]:
        try:
            with open(path, encoding="utf-8") as handle:
                doubled(yaml.compose(handle, yaml.SafeLoader), path)
        except OSError as error:
            raise WorkflowError(f"{path}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise WorkflowError(f"{path}: not UTF-8 text ({error}); save it as UTF-8") from None
        except yaml.YAMLError as error:
            raise WorkflowError(
                f"{path}: no YAML ({' '.join(str(error).split())}); indent with spaces, not tabs"
            ) from None


def doubled(node, path):
    """Raise WorkflowError on a key that stands twice in one mapping below `node`."""
    if isinstance(node, yaml.MappingNode):
        lines = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in lines and key.tag != "tag:yaml.org,2002:merge":
                raise WorkflowError(
                    f"{path}, line {line}: the key {key.value!r} stands in line {lines[key.value]} already, and the last "
                    "would count; remove one"
                )
            lines[key.value] = line
            doubled(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            doubled(value, path)


def check_keys(settings):
    try:
        names.check_keys(settings)
    except InputError as error:
        raise WorkflowError(f"settings: {error}") from None


def check_schema(settings):
    """Remove what an overlay set to null, and refuse what the schema does (made of the dataclasses: make schemas). Then
    one number for all classes becomes one for each."""
    with open(f"{workflow.basedir}/workflow/schemas/params.schema.json", encoding="utf-8") as handle:
        schema = json.load(handle)
    kept = without_nulls(settings, schema)
    settings.clear()
    settings.update(kept)
    if error := best_match(Draft202012Validator(schema).iter_errors(settings)):
        raise WorkflowError(f"settings: {explain(error)}")
    settings["experiments"] = {name: names.spread(entry) for name, entry in settings["experiments"].items()}
