"""Audit of the masks that a generator draws for copies of training masks."""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import write_json
from synthmed.core.settings import Count
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.evaluation import copy_findings as findings
from synthmed.evaluation.copies import AuditSettings, digest, in_pixels, judged, space_of
from synthmed.evaluation.copy_design import make_design
from synthmed.evaluation.copy_figure import draw_pairs
from synthmed.evaluation.plant_copies import mask_kinds, of_many_patients
from synthmed.metrics import alignment
from synthmed.metrics.estimate import Estimate


@dataclass(frozen=True)
class MaskCopiesSettings(AuditSettings):
    """Settings of `mask-copies`."""

    images: Annotated[
        Count, Meta(description="Planted copies of each kind, of different patients where there are enough.")
    ]


@step("mask-copies")
def mask_copies(
    settings: MaskCopiesSettings, *, train: Path, held_out: Path, fake: Path, out: Output, pairs: Output
) -> None:
    """Look for copies of training masks among generated ones.

    train, held_out, fake: image sets with masks. As of images (`copies`), on the masks alone, a white picture of each
    class: thumbnails, under flips, shifts, crops and turns. out (JSON): as of `copies`, of one space; and `overlap`: of
    the generated and of the held-out masks, the largest IoU with a training mask, as it is or mirrored (median and
    largest of the set). A mask without anything in it, or of nothing else, is a copy of none: masks that show nothing
    in their middle, which is compared, are in no test, real and planted ones neither; `empty` counts the generated
    ones. Where no generated mask shows anything, none is a copy, and ratios and p are missing. pairs: PNG, the closest
    pairs. Raises InputError when an image has no mask, when masks mean different things, or when no mask of train or of
    held_out shows anything in its middle.
    """
    sets = {"train": ImageSet(train), "held_out": ImageSet(held_out), "fake": ImageSet(fake)}
    for one in sets.values():
        if (one.legend.masks, one.legend.classes) != (sets["train"].legend.masks, sets["train"].legend.classes):
            raise InputError(f"{one.path}: its masks are {one.legend}, those of {train} are {sets['train'].legend}")
    thumbnails, known, identical = {}, set(), []
    for name, images in sets.items():
        small = []
        for masks in _drawn(images):
            small.append(alignment.thumbnail(masks, settings.pixel_side))
            if name == "train" and _shows(masks):
                known |= {digest(masks), digest(masks[:, ::-1])}
            elif name == "fake":
                identical.append(digest(masks) in known)
        thumbnails[name] = np.stack(small)
    thumbnails["planted"], kinds, equal = _planted(settings, sets["train"], known)
    asked = {name: alignment.shows(small) for name, small in thumbnails.items()}
    for name in ("train", "held_out"):
        if not asked[name].any():
            raise InputError(
                f"{sets[name].path}: no mask shows anything in its middle, which is compared; the audit of masks needs "
                "real ones that do"
            )
    nothing = not asked["fake"].any()
    if nothing:
        asked["fake"][:] = True  # so that there are planted copies and pairs to show; what is said of them is not kept
    kinds = [kind for kind, one in zip(kinds, asked["planted"], strict=True) if one]
    design = make_design(sets, kinds, settings.permutations, settings.seed, asked)
    queries = thumbnails | {name: thumbnails[name][asked[name]] for name in ("fake", "planted")}
    spaces = {"pixels": space_of(in_pixels(design, queries), design, settings.quantile)}
    same = np.array(identical)
    names = {"train": sets["train"].column("image")}
    names["fake"] = np.array(sets["fake"].column("image"))[asked["fake"]].tolist()
    listed = findings.closest_pairs(spaces, names, same[asked["fake"]], settings.pairs)
    audit = judged(settings, design, spaces, same, equal[asked["planted"]], "mask")
    overlap = {name: _overlaps(thumbnails[name], thumbnails["train"]) for name in ("fake", "held_out")}
    write_json(
        out,
        {
            "generator": settings.generator,
            **{f"n_{name}": len(sets[name]) for name in sets},
            "empty": int((~alignment.shows(thumbnails["fake"])).sum()),
            **(_nothing_shown(audit) if nothing else audit),
            "overlap": overlap,
            "closest_pairs": listed,
        },
    )
    draw_pairs(pairs, sets, listed, lambda images, row: _as_grey(next(_drawn(images, [row]))))


def _nothing_shown(audit: Mapping) -> dict:
    """The audit of a set of which no mask shows anything in its middle: equal masks are what can be known of it."""
    reason = "no mask shows anything in its middle"
    nobody = {"suspects": 0, "suspect_share": Estimate.missing(reason).to_json()}
    missing = nobody | dict.fromkeys(("mean_ratio", "smallest_ratio", "p", "p_smallest"))
    of_space = {name: measured | missing for name, measured in audit["by_space"].items()}
    alarm = {"word": findings.NONE, "reason": f"{reason}, so none is a copy"}
    return audit | nobody | {"by_space": of_space} | ({} if audit["identical"] else {"alarm": alarm})


def _drawn(images: ImageSet, rows: list[int] | None = None) -> Iterator[np.ndarray]:
    """Where each class is drawn, white on black: uint8 (H, W, classes) of each image."""
    for fields, _pixels, *mask in images.entries(rows):
        if not mask:
            raise InputError(
                f"{images.path}: {fields['image']!r} has no mask; the audit of masks needs one of each image"
            )
        shown = [images.legend.of_class(mask[0], name) for name in images.legend.classes]
        yield np.where(np.dstack(shown), np.uint8(255), np.uint8(0))


def _shows(masks: np.ndarray) -> bool:
    """Whether anything has a border in these masks."""
    return bool((masks.min(axis=(0, 1)) < masks.max(axis=(0, 1))).any())


def _planted(
    settings: MaskCopiesSettings, train: ImageSet, known: Container[bytes]
) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Thumbnails of copies of training masks, the kind of each, and which are among the `known` digests, bool."""
    rng = np.random.default_rng(settings.seed)
    small, kinds, equal = [], [], []
    for masks in _drawn(train, of_many_patients(train, settings.images, rng)):
        for kind, change in mask_kinds(min(masks.shape[:2])).items():
            copy = np.ascontiguousarray(change(masks, rng))
            small.append(alignment.thumbnail(copy, settings.pixel_side))
            kinds.append(kind)
            equal.append(digest(copy) in known)
    return np.stack(small), kinds, np.array(equal)


def _overlaps(queries: np.ndarray, pool: np.ndarray) -> Mapping[str, float]:
    """Of the largest IoU of each of `queries` with one of `pool`, thumbnails (N, side, side, classes) cut at half: the
    median and the largest. Empty against empty counts 0."""
    pool = np.concatenate([pool, pool[:, :, ::-1]])
    ours, theirs = (one.reshape(len(one), -1) >= 128 for one in (queries, pool))
    both = ours.astype(np.float32) @ theirs.T.astype(np.float32)
    either = ours.sum(axis=1)[:, None] + theirs.sum(axis=1)[None] - both
    best = (both / np.maximum(either, 1)).max(axis=1)
    return {"median": float(np.median(best)), "largest": float(best.max())}


def _as_grey(masks: np.ndarray) -> np.ndarray:
    """All classes in one grey picture (H, W, 1): the first white, the others darker."""
    levels = np.linspace(255, 100, masks.shape[2])
    return ((masks > 0) * levels).max(axis=2, keepdims=True).astype(np.uint8)
