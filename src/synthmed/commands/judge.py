"""`synthmed judge`: your own synthetic images against real ones, without a settings file.

It writes a settings file into a folder of its own and runs the pipeline there, with the settings that are said in
workflow/judge.yaml and none of the project's own. The folder is left, for whoever wants to go on.
"""

import csv
import hashlib
import logging
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import synthmed
from synthmed.core.errors import InputError
from synthmed.core.files import dump_json, read_json, readable, user_path, write_json, write_text
from synthmed.core.lock import hold
from synthmed.core.settings import parse
from synthmed.data.imageset import ImageSet
from synthmed.data.sources import folder as folders
from synthmed.data.sources.user_folder import UserFolder
from synthmed.data.sources.user_table import read_table, separated
from synthmed.prepare.common import decode
from synthmed.prepare.rejected import Rejected

logger = logging.getLogger(__name__)

HEALTHY = (
    "normal",
    "healthy",
    "negative",
    "benign",
    "no",
    "no_finding",
    "no finding",
    "control",
    "nevus",
    "naevus",
    "0",
)
"""Class names, in lower case, that are the negative one of two."""
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "file": ("file", "filename", "file_name", "image", "image_path", "path", "image_id", "name"),
    "label": ("label", "class", "diagnosis", "target", "category", "finding"),
    "patient": ("patient", "patient_id", "patientid", "subject", "subject_id", "case", "case_id"),
}
"""Column of a CSV → names it is looked for under, in any case."""
VALIDATION, TEST = 0.15, 0.4
"""Shares of the real patients for validation, and for the test where no test images are given."""
FEWEST = 4
"""Test images of a class below which nothing can be said."""
_TOGETHER = ("file", "label", "patient", "split")
"""Columns of the table of real images and such for the test."""
LOOKED_AT = 20
"""Images, to see whether they are coloured."""


@dataclass(frozen=True)
class Given:
    """What a folder, CSV or image set of the user holds.

    path: as the user named it; dataset: an entry of `datasets` in the settings; rows: of each image label, patient, and
    its file in `folder`; folder: None for an image set.
    """

    path: Path
    dataset: dict[str, Any]
    rows: list[dict[str, str]]
    folder: UserFolder | None

    @property
    def counts(self) -> Counter[str]:
        return Counter(row["label"] for row in self.rows)

    @property
    def has_class_folders(self) -> bool:
        """Whether sub-folders are the classes, and no table lists the images."""
        return self.folder is not None and self.dataset["options"]["csv"] is None


def judge(
    *,
    real: Path,
    synthetic: Path,
    test: Path | None,
    out: Path,
    folder: Path | None,
    patient_pattern: str | None,
    positive: str | None,
    size: int,
    cores: int,
) -> Path:
    """Judge `synthetic` against `real` and write the report `out` (HTML). Returns the folder of the run.

    real, synthetic: class sub-folders, a CSV (see COLUMNS), or an image set (.zip). test: real images that are kept for
    testing; None: two fifths of `real`, by patient. folder: of the run, default `<out stem>-run` beside `out`.
    patient_pattern: regular expression whose first group is the patient in a file name, for class sub-folders of real
    images. positive: the class of sensitivity, default see `positive_of`. size: height and width in pixels at which all
    is judged. cores: processors.

    Raises InputError, naming the folder, when one holds no images or one class, classes differ, there are too few
    images, a pattern of patients serves none of the real images, another judge runs in `folder`, or the run stops.
    """
    sources = {"--real": look(real, "real", patient_pattern), "--synthetic": look(synthetic, "synthetic", None)}
    if test is not None:
        sources["--test"] = look(test, "test", patient_pattern)
    classes = sorted(sources["--real"].counts)
    check_classes(sources, classes)
    if patient_pattern is not None:
        check_pattern(sources)
    folder = Path(folder or out.with_name(f"{out.stem}-run")).absolute()
    held_out = sources.get("--test")
    sick = positive_of(classes, positive)
    logger.info("the positive class is %r (--positive chooses another)", sick)
    overlay = settings(
        sources["--real"].counts,
        sources["--synthetic"].counts,
        None if held_out is None else held_out.counts,
        positive=sick,
        image={"size": [size, size], "channels": channels_of(sources["--real"])},
        names={name.removeprefix("--"): str(given.path) for name, given in sources.items()},
    )
    made_of = {"real": [sources["--real"], *filter(None, [held_out])], "synthetic": [sources["--synthetic"]]}
    with hold(folder):  # Snakemake's own comes when what another judge reads has been replaced
        dataset = sources["--real"].dataset if held_out is None else together(sources["--real"], held_out, folder)
        overlay["datasets"] = {"real": dataset, "synthetic": sources["--synthetic"].dataset}
        anew = forget_changed(folder, made_of)
        write_text(folder / "judge.json", dump_json(overlay, sort_keys=False))
        run(folder, cores, anew)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "results" / "judge" / "report.html", out)
    return folder


# ------------------------------------------------------------------------------------------------- what was given
def look(path: Path, name: str, patient_pattern: str | None) -> Given:
    """What lies at `path`. Raises InputError when that is no folder, CSV or image set with images in it."""
    path = user_path(path)
    if path.suffix.lower() == ".zip":
        images = ImageSet(path)
        rows = [{"label": row["label"], "patient": row["patient"], "file": row["image"]} for row in images.rows]
        dataset = {"source": "image_set", "provider": "file", "options": {"path": str(path.absolute())}, "pool": None}
        return Given(path, dataset, rows, None)
    table = path if path.suffix.lower() == ".csv" else None
    if table is not None and not table.is_file():
        raise InputError(f"{path}: no such file; give a folder with a sub-folder a class, a CSV, or an image set")
    options = {
        "path": str((path.parent if table else path).absolute()),
        "name": name,
        "csv": None if table is None else columns_of(table),
        "patient_pattern": None if table else patient_pattern,
    }
    found, rows = folders.listed(parse(folders.FolderSettings, options, str(path)))
    if not rows:
        raise InputError(
            f"{path}: no images in sub-folders; each class needs a sub-folder with its images "
            f"({' '.join(folders.ENDINGS)}), or give a CSV"
        )
    return Given(path, {"source": "folder", "provider": "folder", "options": options, "pool": None}, rows, found)


def columns_of(table: Path) -> dict[str, Any]:
    """Settings of a CSV, its columns found by their names. Raises InputError when file or label cannot be found."""
    header = list(read_table(table, [])[0][1])
    found = {}
    for what, names in COLUMNS.items():
        found[what] = next((cell for name in names for cell in header if cell.lower() == name), None)
        if found[what] is None and what != "patient":
            raise InputError(
                f"{table}: no column of the {what}; call it one of {list(names)} (it has {header}){separated(header)}"
            )
    said = [f"{what} is column {column!r}" if column else f"no column of the {what}" for what, column in found.items()]
    logger.info("%s: %s", table, ", ".join(said))
    return {"name": table.name, **found, "mask": None, "split": None, "keep": []}


def check_pattern(sources: Mapping[str, Given]) -> None:
    """Raise InputError where a pattern of patients finds no class sub-folders, for which it is; say which of the real
    images it does not serve."""
    asked = {option: sources[option] for option in ("--real", "--test") if option in sources}
    unserved = {option: given for option, given in asked.items() if not given.has_class_folders}
    for option, given in unserved.items():
        said = f"{given.path} ({option}): --patient-pattern is for class sub-folders; give the table a column patient"
        if len(unserved) == len(asked):
            raise InputError(said)
        logger.warning("%s", said)


def check_classes(sources: Mapping[str, Given], classes: Sequence[str]) -> None:
    """Raise InputError unless the real images show two classes or more, and the others these."""
    if len(classes) < 2:
        raise InputError(f"{sources['--real'].path}: only the class {classes}; a classifier needs two or more")
    for option, given in sources.items():
        unknown = sorted(set(given.counts) - set(classes))
        missing = sorted(set(classes) - set(given.counts))
        if unknown or missing:
            what = f"the class {unknown[0]!r} is not among" if unknown else f"no image of the class {missing[0]!r} of"
            raise InputError(f"{given.path} ({option}): {what} the real classes {classes}; name the sub-folders alike")
    if "--test" in sources:
        few = [label for label, count in sources["--test"].counts.items() if count < FEWEST]
        if few:
            raise InputError(f"{sources['--test'].path}: fewer than {FEWEST} images of {few[0]!r}; add some")


def positive_of(classes: Sequence[str], chosen: str | None) -> str:
    """The positive class: the one asked for, else of two classes the one that is not called healthy, else the last."""
    if chosen is not None:
        if chosen not in classes:
            raise InputError(f"--positive {chosen!r}: the classes are {list(classes)}")
        return chosen
    ill = [name for name in classes if name.lower() not in HEALTHY]
    return ill[0] if len(classes) == 2 and len(ill) == 1 else classes[-1]


def channels_of(given: Given) -> int:
    """3 where any of LOOKED_AT images, spread over all of them, is coloured, else 1. Those that the preparation would
    reject are passed over; raises InputError when it would reject all of them, or one cannot be opened."""
    if given.folder is None:
        return ImageSet(given.path)[0].shape[2]
    refused = []
    rows = given.rows[:: -(-len(given.rows) // LOOKED_AT)]
    for row in rows:
        try:
            pixels = decode(given.folder.read(row["file"]), 3)
        except Rejected as reason:
            refused.append(f"{given.folder.path_of(row['file'])}: not a readable image ({reason})")
        else:
            if (pixels != pixels[:, :, :1]).any():
                return 3
    if len(refused) == len(rows):
        raise InputError(f"{refused[0]}, nor is any of the {len(rows)} that were looked at; repair or remove them")
    return 1


def together(real: Given, test: Given, folder: Path) -> dict[str, Any]:
    """A data set of both, with the part of each image: its files are linked (else copied) below `folder`/input. Where
    nobody says who the patients are it names none. Raises InputError where `folder`/input is somebody else's, or an
    image set was given."""
    parts = {"train": real, "test": test}
    for given in parts.values():
        if given.folder is None:
            raise InputError(f"{given.path}: with --test give folders or CSVs, not image sets")
    table = folder / "input" / "images.csv"
    _empty(table, [real, test])
    lines = [
        [f"{part}/{row['file']}", row["label"], row["patient"], part]
        for part, given in parts.items()
        for row in given.rows
    ]
    with open(table, "w", newline="", encoding="utf-8") as handle:
        csv.writer(handle, lineterminator="\n").writerows([_TOGETHER, *lines])
    for part, given in parts.items():
        for row in given.rows:
            path, target = given.folder.path_of(row["file"]), table.parent / part / row["file"]
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path.resolve(), target)
            except OSError:
                shutil.copyfile(path, target)
    patient = "patient" if any(row["patient"] for given in (real, test) for row in given.rows) else None
    columns = {"file": "file", "label": "label", "patient": patient, "split": "split", "mask": None, "keep": []}
    listed = {"name": table.name, **columns}
    options = {"path": str(table.parent), "name": "real", "csv": listed, "patient_pattern": None}
    return {"source": "folder", "provider": "folder", "options": options, "pool": None}


def _empty(table: Path, parts: Sequence[Given]) -> None:
    """Make the folder of `table` anew, so that no image of an earlier run stays. Raises InputError when it is none that
    `together` made, or holds images that were given."""
    place = table.parent
    if any(place.resolve() in (inside := given.folder.path.resolve(), *inside.parents) for given in parts):
        raise InputError(f"{place}: holds images that were given, and is made anew; give another --folder")
    if place.exists():
        first = table.read_text(encoding="utf-8", errors="replace").partition("\n")[0] if table.is_file() else ""
        if first != ",".join(_TOGETHER):
            raise InputError(f"{place}: this is no folder of an earlier `judge`; give another --folder")
        shutil.rmtree(place)
    place.mkdir(parents=True)


def forget_changed(folder: Path, datasets: Mapping[str, Sequence[Given]]) -> list[str]:
    """Remove the raw files of an earlier run in `folder` that were made of other files than are given now: Snakemake
    knows the settings they were made with, and no file of yours. Returns the data sets that have no raw files: they are
    to be fetched though what was made of them may still be there.

    datasets: name in the settings → what it is made of.
    """
    record = folder / "given.json"
    states = {name: [_state(given) for given in parts] for name, parts in datasets.items()}
    before = read_json(record) if record.is_file() else {}
    packed = {name: folder / "data" / name / "raw" for name in datasets}
    for name, state in states.items():
        if before.get(name) != state and packed[name].is_dir() and (folder / "judge.json").is_file():
            logger.info("%s: made of other files than lie there now; it is made anew", packed[name])
            shutil.rmtree(packed[name])
    write_json(record, states)
    return [name for name, place in packed.items() if not any(place.glob("*.zip"))]


def _state(given: Given) -> str:
    """A hash of what was given: names, sizes and times of its files, with their labels and patients."""
    whole = [] if given.has_class_folders else [(given.path, [])]
    images = [] if given.folder is None else given.rows
    files = whole + [(given.folder.path_of(row["file"]), [row["label"], row["patient"]]) for row in images]
    digest = hashlib.sha256()
    for path, said in files:
        with readable(path):
            found = path.stat()
        digest.update(repr([str(path.absolute()), found.st_size, found.st_mtime_ns, *said]).encode())
    return digest.hexdigest()


# ------------------------------------------------------------------------------------------------------- settings
def settings(
    real: Mapping[str, int],
    synthetic: Mapping[str, int],
    test: Mapping[str, int] | None,
    *,
    positive: str,
    image: Mapping[str, Any],
    names: Mapping[str, str],
) -> dict[str, Any]:
    """What judge.yaml leaves open: classes, folders, and the shares that the numbers of images allow."""
    classes = sorted(real)
    share_of_training = 1 - VALIDATION - (TEST if test is None else 0.0)
    training = {label: real[label] * share_of_training for label in classes}
    few = min(classes, key=lambda label: real[label])
    if real[few] * (VALIDATION if test is not None else TEST) < FEWEST:
        raise InputError(f"{names['real']}: {real[few]} images of {few!r} are too few to divide; add some")
    supply = min(synthetic[label] / training[label] for label in classes)
    points = [point for point in (0.25, 0.5, 1.0, 2.0) if point <= 0.98 * supply]
    if not points:
        scarce = min(classes, key=lambda label: synthetic[label] / training[label])
        raise InputError(
            f"{names['synthetic']}: {synthetic[scarce]} images of {scarce!r} are less than a quarter of the real "
            f"training images ({training[scarce]:.0f}); an effect of so few cannot be seen: add more"
        )
    added = max(point for point in points if point <= 1)
    experiment = {
        "title": f"{Path(names['synthetic']).name} against {Path(names['real']).name}",
        "task": f"tells {' from '.join(classes) if len(classes) == 2 else ', '.join(classes)} in images",
        "classes": classes,
        "positive": positive,
        "prepare": {"labels": {label: label for label in classes}, **image},
        "generators": {
            "synthetic": {
                "title": Path(names["synthetic"]).stem,
                "model": "external",
                "dataset": "synthetic",
                "labels": None,
            }
        },
        "split": {
            "by": "patient" if test is None else "column",
            "validation": VALIDATION,
            "test": TEST if test is None else None,
        },
        "fidelity": {"floor_counts": {label: max(2, synthetic[label]) for label in classes}},
        "planted_copies": {"images": max(1, min(40, int(sum(training.values()) / 4)))},
        "tasks": {
            "classification": {
                "outcome": "auroc" if len(classes) == 2 else "balanced_accuracy",
                "arms": {
                    "added_share": added,
                    "sweep": {"synthetic": [point for point in points if point != added]},
                    "only_share": added,
                },
            }
        },
    }
    return {"experiments": {"judge": experiment}}


# ------------------------------------------------------------------------------------------------------------ run
def pipeline(folder: Path, cores: int, anew: Sequence[str] = ()) -> list[str]:
    """The command that runs the pipeline in `folder` and fetches the data sets `anew`. Raises InputError where there is
    no clone to run it from."""
    clone = Path(synthmed.__file__).parents[2]
    if not (clone / "Snakefile").is_file():
        raise InputError(f"{clone}: no Snakefile here; `judge` runs the pipeline of a clone of the repository")
    return [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(clone / "Snakefile"), "--cores", str(cores)),
        *("--directory", str(folder), "--quiet", "rules", "progress", "host", "--replace-workflow-config"),
        *("--configfile", str(clone / "workflow" / "judge.yaml"), str(folder / "judge.json")),
        *(["--forcerun", *(f"fetch_{name}_raw" for name in anew)] if anew else []),
        *("--", "experiment_judge"),
    ]


def run(folder: Path, cores: int, anew: Sequence[str]) -> None:
    """Run the pipeline in `folder`, see pipeline. Raises InputError when it stops, with the last lines of its log."""
    command = pipeline(folder, cores, anew)
    log = folder / "judge.log"
    logger.info("running the pipeline in %s; its log is %s", folder, log)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    with open(log, "w", encoding="utf-8") as handle:
        done = subprocess.run(
            command, stdout=handle, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment, check=False
        )
    if done.returncode:
        said = log.read_text(encoding="utf-8", errors="replace").splitlines()
        reasons = [line for line in said if "error" in line.lower() or "Error" in line][:6] or said[-6:]
        raise InputError("the run stopped; its log is " + f"{log}\n  " + "\n  ".join(reasons))
