"""Reading the table of tags that `measure-tags` writes: what lies on the images of every set and is no finding."""

from pathlib import Path

from synthmed.core.errors import InputError
from synthmed.core.files import read_csv


def read_tags(path: str | Path, name: str) -> dict[str, dict[str, str]]:
    """Image → tag → yes or no, of the set called `name` in the table. Raises InputError when none of it is tagged."""
    rows = [row for row in read_csv(path) if row.get("set") == name]
    if not rows:
        raise InputError(f"{path}: no image of {name!r} is tagged; run measure-tags again")
    return {row["image"]: {tag: cell for tag, cell in row.items() if tag not in ("set", "image")} for row in rows}


def check_given(tags: Path | None, named: object, setting: str) -> None:
    """Raise InputError unless the table and what is `named` in it by a setting are given together, or neither is."""
    if (tags is None) != (not named):
        raise InputError(
            f"setting {setting} is {named!r}, and the input tags {tags and str(tags)!r}; give both or neither"
        )
