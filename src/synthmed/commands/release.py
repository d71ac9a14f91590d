"""`synthmed release`: a synthetic set with its datasheet, to be passed on; or, in words, why it is not to be.

The set is an image set like any other (`synthmed judge` reads it back), with four files more: DATASHEET.md, after Gebru
et al., Datasheets for Datasets, Commun ACM 64(12):86, 2021; a picture; how it was made; and checksums. Nothing of a
patient or a machine goes along: images get new names in a drawn order, and of the manifest only labels are kept.
"""

import hashlib
import logging
import re
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from synthmed import __version__
from synthmed.commands.contact_sheet import contact_sheet
from synthmed.core.errors import InputError
from synthmed.core.files import atomic_path, dump_json, hash_file, read_csv, read_json
from synthmed.core.known import MEAN
from synthmed.core.provenance import SUFFIX, settle
from synthmed.data import sources
from synthmed.data.imageset import COMPANIONS, ZIP_TIME, ImageSet, write_image_set
from synthmed.evaluation.copy_findings import COPIES
from synthmed.metrics.effects import unlike
from synthmed.report.results import read_result
from synthmed.report.words import environment

logger = logging.getLogger(__name__)

NAMED = ".named.json"
"""In the folder of all experiments: what the settings name and choose, as the workflow last saw them."""
PICTURED = 64
"""Images on the picture."""


@dataclass(frozen=True)
class Found:
    """What the results say of a generator's set.

    images: the set; records: provenance by artefact, of the set and all it was made from; audit: of `copies`;
    mask_audit: of `mask-copies`, None without masks or when they are real ones; effects: its rows of effects.csv;
    fidelity: of every extractor and view; title: of the generator; about: title and provider of the experiment.
    """

    images: ImageSet
    records: Mapping[str, Mapping[str, Any]]
    audit: Mapping[str, Any]
    mask_audit: Mapping[str, Any] | None
    effects: list[dict[str, str]]
    fidelity: list[Mapping[str, Any]]
    title: str
    about: Mapping[str, Any]


def release(experiment: str, generator: str, *, out: Path, results: Path, terms: str | None) -> None:
    """Write `out` (.zip): the images of a generator with datasheet, checksums and a picture.

    experiment, generator: their names in the settings; results: the folder of all experiments. terms: under which terms
    what was made of the real images may be passed on, in your words; needed where their source does not say.

    Raises InputError, saying why, where there is no such set, it was not audited for copies, the audit or the report is
    of another state of it, it holds training images or masks, the audit's alarm was raised, or the licence of the real
    images forbids it.
    """
    if out.suffix != ".zip":
        raise InputError(f"{out}: a released set is a .zip file; name it so")
    found = look(results, experiment, generator)
    refuse_copies(found)
    real = real_data(found, terms)
    made = how_made(found)
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out) as temporary, tempfile.TemporaryDirectory() as folder:
        write_image_set(temporary, anonymous(found.images), found.images.legend)
        picture = Path(folder) / "samples.png"
        contact_sheet(temporary, picture, columns=8, count=PICTURED, seed=1)
        sheet = datasheet(found, real, made)
        with zipfile.ZipFile(temporary, "a", zipfile.ZIP_STORED) as archive:
            contents = (sheet.encode(), dump_json(made).encode(), picture.read_bytes())
            for name, content in zip(COMPANIONS[:3], contents, strict=True):
                archive.writestr(zipfile.ZipInfo(name, ZIP_TIME), content)
            sums = [f"{hashlib.sha256(archive.read(name)).hexdigest()}  {name}\n" for name in archive.namelist()]
            archive.writestr(zipfile.ZipInfo(COMPANIONS[3], ZIP_TIME), "".join(sums))
    logger.info("wrote %s: %d images, %.1f MB", out, len(found.images), out.stat().st_size / 1e6)


# ------------------------------------------------------------------------------------------------- what the results say
def look(results: Path, experiment: str, generator: str) -> Found:
    """Everything about a set. Raises InputError where something is missing or not current."""
    folder = results / experiment
    if not folder.is_dir():
        there = sorted(path.name for path in results.glob("*") if (path / "report.html").is_file())
        raise InputError(f"{folder}: no such experiment; those with a report are {there or 'none'}")
    images = folder / "images" / "synthetic" / f"{generator}.zip"
    report, effects = folder / "report.html", folder / "tables" / "effects.csv"
    audit = folder / "copies" / "synthetic" / f"{generator}.json"
    fidelity = sorted(folder.glob(f"fidelity/*/synthetic/{generator}.json"))
    for path, what in ((images, "set"), (audit, "audit for copies"), (effects, "effects"), (report, "report")):
        if not path.is_file():
            raise InputError(
                f"{path}: no {what} of {generator!r}; run `snakemake --cores all experiment_{experiment}` first "
                f"(its generators: {sorted(path.stem for path in images.parent.glob('*.zip')) or 'none yet'})"
            )
    root = results.absolute().parent
    used = {path: path.absolute().relative_to(root).as_posix() for path in (images, audit, effects, report, *fidelity)}
    folders = [folder, root / "data"] if (root / "data").is_dir() else [folder]
    chosen = read_json(results / NAMED)["inputs"] if (results / NAMED).is_file() else None
    if stale := settle(folders, remove=False, chosen=chosen, root=root).stale:
        for path, name in used.items():
            if name in stale:
                raise InputError(f"{path}: {stale[name]}; run `snakemake --cores all experiment_{experiment}` again")
    records = dict(_chain([used[images]], root))
    # The masks may be those of another generator, which drew them for this one to paint.
    drawn = [folder / "copies" / "masks" / f"{Path(name).stem}.json" for name in records if name.endswith(".zip")]
    mask_audit = next((path for path in drawn if path.is_file()), None)
    titles = read_json(Path(f"{effects}{SUFFIX}"))["settings"]["generators"]
    return Found(
        images=ImageSet(images),
        records=records,
        audit=read_result(audit),
        mask_audit=mask_audit and read_result(mask_audit),
        effects=[row for row in read_csv(effects) if row["generator"] == titles.get(generator, generator)],
        fidelity=[read_result(path) for path in fidelity],
        title=titles.get(generator, generator),
        about=read_json(Path(f"{report}{SUFFIX}"))["settings"],
    )


def _chain(names: list[str], root: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Records of artefacts and of all they were made from, the first first."""
    waiting, seen = list(names), set()
    while waiting:
        name = waiting.pop(0)
        record = root / f"{name}{SUFFIX}"
        if name not in seen and record.is_file():
            seen.add(name)
            made = read_json(record)
            yield name, made
            waiting += sorted(made["inputs"])


def refuse_copies(found: Found) -> None:
    """Raise InputError where the audit found training images or masks in the set, or raised its alarm."""
    where = found.images.path
    for audit, noun in ((found.audit, "image"), (found.mask_audit, "mask")):
        if audit is None:
            continue
        if audit["identical"]:
            raise InputError(
                f"{where}: {audit['identical']:,} of its {noun}s equal a training {noun}, pixel by pixel; a set with "
                "copies is not released: train the generator otherwise, or leave these out by a set of your own"
            )
        if audit["alarm"]["word"] == COPIES:
            raise InputError(
                f"{where}: the copy audit of its {noun}s says “{COPIES}” ({audit['alarm']['reason']}); look at the "
                "pairs in the report's section on sharing; such a set is not released"
            )
    if any(row["mask"] for row in found.images.rows) and found.mask_audit is None:
        raise InputError(
            f"{where}: its masks are those of training images, as they are (the generator paints images for them); "
            "let it paint masks of a mask generator, or deformed ones"
        )


def real_data(found: Found, terms: str | None) -> dict[str, str]:
    """What the real images were: name, licence, citation, terms. Raises InputError where they may not be passed on."""
    fetched = {
        (made["settings"]["source"], made["settings"]["provider"])
        for made in found.records.values()
        if made["step"] == "fetch"
    }
    if not fetched:
        raise InputError(f"{found.images.path}: its record does not lead to the real images; run the experiment again")
    told = []
    for source, provider in sorted(fetched):
        module = sources.load(source)
        if provider == "phantom":
            told.append((source, "phantoms, drawn by a program; no patient is in them", "none", "allowed"))
        else:
            told.append((source, module.LICENCE, module.CITATION, module.SHARING))
    for source, licence, _citation, sharing in told:
        if sharing == "forbidden":
            raise InputError(
                f"{source}: the licence of the real images ({licence}) forbids that what was made of them is passed on"
            )
        if sharing == "ask" and not terms:
            raise InputError(
                f"{source}: its licence ({licence}) does not say whether what was made of the images may be passed on; "
                "when you know that it may, say the terms: --terms 'TEXT', which the datasheet prints as yours"
            )
    return {
        "names": ", ".join(source for source, *_ in told),
        "licence": "; ".join(licence for _, licence, *_ in told),
        "citation": "; ".join(citation for _, _, citation, _ in told),
        "terms": terms or "",
    }


def how_made(found: Found) -> dict[str, Any]:
    """How the set was made, without anything of a patient or a machine: of each training and of sampling the step, its
    settings, the hashes of its code and results, and the versions of packages."""
    steps = []
    for name, made in found.records.items():
        if made["step"] in ("train", "sample", "choose-state"):
            kept = {key: made[key] for key in ("step", "sha256", "code", "versions", "machine_chose") if key in made}
            steps.append({"artefact": PurePath(name).name, **kept, "settings": _without_paths(made["settings"])})
    return {"synthmed": __version__, "images_sha256": hash_file(found.images.path), "steps": steps}


def _without_paths(node: object) -> object:
    if isinstance(node, Mapping):
        return {key: _without_paths(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_without_paths(value) for value in node]
    return "(a file)" if isinstance(node, str) and re.search(r"[/\\]", node) else node


# ------------------------------------------------------------------------------------------------------ what is written
def anonymous(images: ImageSet) -> Iterator[tuple]:
    """Entries for write_image_set under new names in a drawn order: names, patients and sources of a translated set are
    those of the real images it was made from."""
    order = np.random.default_rng(int(hash_file(images.path)[:16], 16)).permutation(len(images))
    place = {int(row): number for number, row in enumerate(order, 1)}
    digits = len(str(len(images)))
    for row, (fields, *content) in enumerate(images.entries()):
        label = re.sub(r"[^a-z0-9]+", "_", fields["label"].lower()).strip("_") or "image"
        name = f"{label}_{place[row]:0{digits}d}"
        yield (
            {"image": f"{name}.png", "label": fields["label"], "patient": name, "split": "", "source": "synthetic"},
            *content,
        )


def datasheet(found: Found, real: Mapping[str, str], made: Mapping[str, Any]) -> str:
    """The datasheet, Markdown."""
    shape = found.images[0].shape
    return (
        environment(html=False)
        .get_template("datasheet.md.j2")
        .render(
            title=found.title,
            about=found.about,
            real=real,
            made=made,
            external=not made["steps"],
            counts=Counter(found.images.column("label")),
            masks=found.images.legend.classes if found.mask_audit is not None else {},
            size=f"{shape[0]} × {shape[1]}",
            channels=found.images.legend.channels or {1: "grey", 3: "red, green, blue"}[shape[2]],
            audit=found.audit,
            mask_audit=found.mask_audit,
            effects=found.effects,
            unlike=[row for row in found.effects if row["pseudo_labelled"] == "no" and unlike(*_fidelities(row))],
            fidelity=found.fidelity,
            mean=MEAN,
        )
    )


def _fidelities(row: Mapping[str, str]) -> list[float | None]:
    """Label fidelity in a row of the effects, and what it is held against."""
    return [float(row[name]) if row[name] else None for name in ("label_fidelity", "label_fidelity_real")]
