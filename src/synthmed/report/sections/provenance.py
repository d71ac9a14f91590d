"""Section "Provenance": the files behind the page, versions, and the settings in full."""

from dataclasses import dataclass
from pathlib import Path

from synthmed.core.files import hash_file
from synthmed.core.provenance import versions
from synthmed.core.step import Output, step
from synthmed.report.exhibits import Section
from synthmed.report.section import write_section

SECTION = Section(link="Provenance", title="Provenance")


@dataclass(frozen=True)
class ProvenanceSettings:
    """Settings of `section-provenance`. It has none."""


@step("section-provenance")
def section(settings: ProvenanceSettings, *, files: list[Path], settings_files: list[Path], section: Output) -> None:
    """The report's section on what it was made from. files: to list with their hashes; settings_files: to print."""
    found = {
        "files": [(path.as_posix(), hash_file(path)) for path in dict.fromkeys([*files, *settings_files])],
        "versions": versions(),
        "texts": [(path.as_posix(), path.read_text(encoding="utf-8")) for path in settings_files],
    }
    write_section(section, [], SECTION, found, document=None)
