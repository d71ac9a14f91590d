"""Section "Networks": what each generator consists of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import check_one_each
from synthmed.core.files import read_json
from synthmed.core.settings import Seed
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.report.exhibits import Column, Figure, Found, Section, Table
from synthmed.report.results import GeneratorEntry
from synthmed.report.section import write_section


@dataclass(frozen=True)
class NetworksSettings:
    """Settings of `section-networks`."""

    jitter: Annotated[
        float | None, Meta(description="Of the trainings, the largest (see their settings); null: none has any.")
    ]
    flip: Annotated[bool, Meta(description="Whether a training mirrors images.")]
    seed: Seed

    generators: Annotated[
        dict[str, GeneratorEntry], Meta(description="Those that were trained here, in the order of `networks`.")
    ]
    costs: Annotated[str, Meta(description="Where the page of their time and memory lies, as the report sees it.")]


COUNTED = ("parameters", "buffers", "statistics")
"""What `describe-networks` counts in every layer."""


def _total(layers: list[dict]) -> dict[str, int]:
    return {kind: sum(layer[kind] for layer in layers) for kind in COUNTED}


def _counts(found: Found) -> list[dict]:
    rows = []
    for name, entry, described in found["described"]:
        for network, layers in described["networks"].items():
            total = _total(layers)
            rows.append(
                {
                    "keys": (f"{name}/{network}", *(f"{key}/{network}" for key in entry.keys)),
                    "generator": entry.title,
                    "network": network,
                    "image": " × ".join(map(str, described["image_shape"])),
                    **total,
                    "learned": total["parameters"],
                    "parameters": total["parameters"] + total["statistics"],
                }
            )
    return rows


def _layers(found: Found) -> list[dict]:
    """The layers of every network and their total; what several generators have alike stands once, under the names of
    all."""
    alike: dict[str, list[tuple]] = {}
    for name, entry, described in found["described"]:
        for network, layers in described["networks"].items():
            size = " × ".join(map(str, described["image_shape"][1:]))
            alike.setdefault(f"{network} {size} {layers}", []).append((name, entry, network, size, layers))
    rows = []
    for same in alike.values():
        _, _, network, image, layers = same[0]
        title = f"{network} of {', '.join(entry.title for _, entry, *_ in same)}"
        known_as = [key for name, entry, *_ in same for key in (name, *entry.keys)]
        for layer in layers:
            shape = layer["output"]
            size = shape and " × ".join(map(str, [*shape[1:], shape[0]]))
            rows.append(
                {
                    # By the size of the images and what it gives: no layer of a smaller network is the document's.
                    "keys": tuple(f"{key}/{network} of {image}/{layer['kind']} {size}" for key in known_as),
                    "network": title,
                    "layer": layer["name"],
                    "output": size,
                    **{key: layer[key] for key in ("kind", "kernel", "stride", *COUNTED)},
                }
            )
        keys = tuple(f"{key}/{network}" for key in known_as)
        rows.append({"keys": keys, "network": title, "layer": "total", **_total(layers)})
    return rows


def _draw(path: Path, found: Found) -> str | None:
    settings = found["settings"]
    if settings.jitter is None:
        return "No training of this experiment learns from parts of larger images."
    from synthmed.report.charts.masks import draw_jitter

    train = ImageSet(found["train"])
    draw_jitter(path, next(train.entries([0]))[1:], train.legend, settings.jitter, settings.flip, settings.seed)
    return None


SECTION = Section(
    link="Networks",
    title="What was trained",
    exhibits=(
        Table(
            "parameters",
            "Networks of each generator. Learned numbers; buffers, which are kept and not learned; those of them that "
            "are running statistics of BatchNorm; parameters: learned numbers and running statistics.",
            _counts,
            (
                Column("generator"),
                Column("network"),
                Column("image", "image (channels × height × width)", once="Images of {} (channels × height × width)."),
                Column("learned"),
                Column("buffers"),
                Column("statistics", "running statistics"),
                Column("parameters"),
            ),
            empty="no generator was trained in this experiment",
        ),
        Table(
            "layers",
            "Layers, with the height × width × maps that they give, the kernel and stride of convolutions, and their "
            "own numbers, learned and not.",
            _layers,
            (
                Column("network", once="{}.", group=True),
                Column("layer"),
                Column("kind"),
                Column("output"),
                Column("kernel"),
                Column("stride"),
                Column("parameters", "learned"),
                Column("buffers"),
                Column("statistics", "running statistics"),
            ),
            empty="no generator was trained in this experiment",
            page="document",
        ),
        Figure(
            "jitter",
            "What a generator learns from one training image{{ ' and its mask' if masks }}: as it is, enlarged "
            "{{ '%.4g' % settings.jitter if settings.jitter }} times (frame: a part of the size of the image, drawn "
            "anew at every step), that part{{ ', and mirrored, as half of the parts are' if settings.flip }}.",
            _draw,
        ),
    ),
)


@step("section-networks")
def section(
    settings: NetworksSettings,
    *,
    networks: list[Path],
    train: Path,
    document: Path | None,
    section: Output,
    out: list[Output],
) -> None:
    """The report's section on networks.

    networks: of `describe-networks`, for each generator in the order of the settings; train: real images.
    """
    check_one_each(settings.generators, networks=networks)
    described = [
        (name, entry, read_json(path))
        for (name, entry), path in zip(settings.generators.items(), networks, strict=True)
    ]
    found = {
        "settings": settings,
        "described": described,
        "costs": settings.costs,
        "train": train,
        "masks": settings.jitter is not None and any(ImageSet(train).column("mask")),
    }
    write_section(section, out, SECTION, found, document=document)
