# Settings as they were written: what YAML does to them without a word and what the schema refuses.
import json
import re

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from synthmed.core import check_names as names
from synthmed.core.errors import InputError
from synthmed.core.settings import explain, without_nulls


def check_files(basedir, overlays):
    """Refuse settings files that are no YAML, or that YAML would read as something else than they say."""
    for path in [f"{basedir}/params.yaml", *overlays]:
        try:
            with open(path, encoding="utf-8") as handle:
                check_node(yaml.compose(handle, yaml.SafeLoader), path)
        except OSError as error:
            raise WorkflowError(f"{path}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise WorkflowError(f"{path}: not UTF-8 text ({error}); save it as UTF-8") from None
        except yaml.YAMLError as error:
            raise WorkflowError(
                f"{path}: no YAML ({' '.join(str(error).split())}); indent with spaces, not tabs"
            ) from None


def check_node(node, path, above=()):
    """Raise WorkflowError on what is not what it looks like, in `node` or below: a key twice in one mapping, of which
    the last would count, a key that is no text, a number that counts by eights or sixties, an anchor inside itself."""
    if node is None:
        return
    where = f"{path}, line {node.start_mark.line + 1}"
    if node in above:
        raise WorkflowError(f"{where}: this anchor holds itself (*); write out what is meant")
    if isinstance(node, yaml.ScalarNode):
        number = node.style is None and node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
        if number and re.fullmatch(r"[-+]?0[0-7_]+|.*:.*", node.value):
            raise WorkflowError(
                f"{where}: YAML reads {node.value} as {yaml.safe_load(node.value)} (zeros in front: base 8, colons: "
                "base 60); write that number, or quotes around a text"
            )
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            check_node(value, path, (*above, node))
    else:
        lines = {}
        for key, value in node.value:
            where = f"{path}, line {key.start_mark.line + 1}"
            if not isinstance(key, yaml.ScalarNode):
                raise WorkflowError(f"{where}: a key that is a list or a mapping; a text with braces needs quotes")
            if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
                raise WorkflowError(
                    f"{where}: the key {key.value} is no text, because YAML reads yes, no, on, off and numbers as what "
                    f'they mean; write "{key.value}" in quotes'
                )
            if key.value in lines and key.tag != "tag:yaml.org,2002:merge":
                raise WorkflowError(
                    f"{where}: the key {key.value!r} stands in line {lines[key.value]} already, and the last would "
                    "count; remove one"
                )
            lines[key.value] = key.start_mark.line + 1
            check_node(value, path, (*above, node))


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
