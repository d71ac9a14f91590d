"""The training step of every generator and segmenter at the settings of a scale: images/s and memory, in one table.

    python benchmarks/gpu.py [--overlay workflow/scales/paper.yaml] [--experiments tuberculosis nuclei …] [--steps 5]
                             [--variants plain fp32 …] [--threads 8] [--device cuda]

Every network of params.yaml (with the overlay) is measured once, wherever it is used: the plain version of a textbook
(plain_steps.py, segmenter_step.py: eager fp32, contiguous; of a generator that has none there, our own step like that),
and ours in fp32 and bf16, contiguous and channels-last, and compiled by torch. TF32 is off. Each variant has the device
to itself: a warm-up, then `steps` steps between two synchronisations. Memory is the most that torch held. What cannot
be run (too large, or not to be compiled) stands in the table with the first words of its reason. SinGAN is measured at
each of its scales, in the groups of its settings; its plain version trains patches one by one. On a CPU, where it is
tried out, CPU time is counted, and memory left out.
"""

import argparse
import gc
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import segmenter_step
import singan
import torch
from common import ROOT, machine, read_params
from plain_steps import STEPS, plain_step

from synthmed import generators
from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.data.channels import MaskChannels
from synthmed.data.imageset import PLAIN, Legend
from synthmed.generators import pggan
from synthmed.segmenters.pairs import Pairs, drawn_names
from synthmed.segmenters.settings import TrainSegmenterSettings
from synthmed.segmenters.train import Training
from synthmed.training.device import choose_device
from synthmed.training.images import Batch, to_model


@dataclass(frozen=True)
class Variant:
    """How a step is computed; plain: by the textbook."""

    precision: str = "fp32"
    memory_format: torch.memory_format = torch.contiguous_format
    compiled: bool = False
    plain: bool = False


VARIANTS = {
    "plain": Variant(plain=True),
    "fp32": Variant(),
    "fp32, channels-last": Variant(memory_format=torch.channels_last),
    "bf16": Variant("bf16"),
    "bf16, channels-last": Variant("bf16", torch.channels_last),
    "bf16, channels-last, compiled": Variant("bf16", torch.channels_last, compiled=True),
}
WARM_UP = 3


@dataclass(frozen=True)
class Case:
    """A network to measure. name, shape: for the table; build(variant, device, steps) → the training step of a variant,
    which may be called so often, and the images of one."""

    name: str
    shape: str
    build: Callable[[Variant, torch.device, int], tuple[Callable[[], object], int]]


# ----------------------------------------------------------------------------------------------------------- the cases
def legend_of(experiment: Mapping[str, Any]) -> Legend:
    masks = experiment["prepare"].get("masks")
    if masks is None:
        return PLAIN
    return Legend(masks=masks["kind"], classes={name: value for name, value in masks["classes"].items() if value})


def channels_of(experiment: Mapping[str, Any]) -> int:
    prepare = experiment["prepare"]
    return prepare.get("channels", 3 if prepare["format"] == "slides" else 1)


def pixels(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def of_generator(entry: Mapping[str, Any], experiment: Mapping[str, Any], learns: str) -> Iterator[Case]:
    """A generator of params.yaml, PGGAN at its full size. learns: images, or masks alone."""
    training, model_class = entry["training"], generators.load(entry["model"])
    config, legend = parse(model_class.Config, entry["config"]), legend_of(experiment)
    needs = generators.needs(entry["model"], entry["config"])
    coded = 0 if training["masks"] is None else len(MaskChannels(training["masks"], legend).names)
    channels = channels_of(experiment) if learns == "images" else 0
    channels += 0 if "mask" in needs else coded  # it draws them behind its image
    shape = (channels, *(training["size"] or experiment["prepare"]["size"]))
    if entry["model"] == "singan":
        yield from of_singan(config, shape)
        return
    classes = tuple(experiment["classes"]) if "image" in needs else ("one",)
    batch = training["batch_size"] * len(classes)

    def build(variant: Variant, device: torch.device, steps: int) -> tuple[Callable[[], object], int]:
        layout = {"memory_format": variant.memory_format}
        torch.manual_seed(0)
        model = model_class.build(config, shape, classes, legend, training["masks"]).to(device=device, **layout)
        images = to_model(pixels(batch, *shape)).to(device).contiguous(**layout)
        masks = None
        if "mask" in needs:
            masks = to_model(pixels(batch, coded, *shape[1:])).to(device).contiguous(**layout)
        labels = torch.arange(len(classes), device=device).repeat_interleave(training["batch_size"])
        model.plan([], 10**9)
        model.precision = variant.precision
        if isinstance(model, pggan.Model):
            model.images_seen = 10**9
        if variant.plain and entry["model"] in STEPS:
            return partial(plain_step(entry["model"], model), Batch(images, labels, masks)), batch
        if variant.compiled:
            for network in model.children():
                network.compile()
        return partial(model.train_step, [Batch(images, labels, masks)]), batch

    yield Case(entry["model"], shape_of(shape), build)


def of_singan(config: singan.Config, shape: tuple[int, int, int]) -> Iterator[Case]:
    for scale, size in enumerate(singan.Model(config, shape, ("one",)).sizes):
        group = config.group_sizes[min(scale, len(config.group_sizes) - 1)]

        def build(
            variant: Variant, device: torch.device, steps: int, size=size, group=group
        ) -> tuple[Callable[[], object], int]:
            count = 1 if variant.plain else group
            if variant.compiled:
                raise InputError("its gradient penalty takes second derivatives, which torch.compile has none of")
            return singan.built(
                config, (shape[0], *size), count, variant.memory_format, variant.precision, device
            ), count

        yield Case(f"singan, groups of {group}", shape_of((shape[0], *size)), build)


def of_segmenter(model: Mapping[str, Any], experiment: Mapping[str, Any]) -> Case:
    """A segmenter of params.yaml."""
    extra = {"seed": 1, "arm": None, "sets": [], "augment": False}
    settings = parse(TrainSegmenterSettings, {**model["training"], **extra})
    size = settings.size or experiment["prepare"]["size"]
    channels, drawn = (
        channels_of(experiment),
        len(drawn_names(MaskChannels(settings.masks, legend_of(experiment)))),
    )

    def build(variant: Variant, device: torch.device, steps: int) -> tuple[Callable[[], object], int]:
        count = settings.batch_size * steps
        pairs = Pairs(pixels(count, channels, *size), pixels(count, drawn, *size) // 128 * 255, [])
        own = replace(settings, precision=variant.precision, channels_last=variant.memory_format is torch.channels_last)
        training = Training(own, 0, (pairs, pairs), device, (settings.learning_rates[0], settings.dropouts[0]))
        if variant.plain:
            return segmenter_step.plain(training), settings.batch_size
        if variant.compiled:
            training.model.compile()
        return partial(segmenter_step.advance, training), settings.batch_size

    return Case(f"segmenter {settings.architecture} {list(settings.widths)}", shape_of((channels, *size)), build)


def shape_of(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def cases(params: Mapping[str, Any], experiments: list[str] | None) -> dict[str, Case]:
    """What is to be measured, by what it is called in the table: each network of each size and batch once."""
    found: dict[str, tuple[list[str], Case]] = {}

    def note(where: str, key: object, case: Case) -> None:
        found.setdefault(json.dumps([key, case.name, case.shape], sort_keys=True), ([], case))[0].append(where)

    for name, experiment in params["experiments"].items():
        if experiment is None or (experiments is not None and name not in experiments):
            continue
        trained = [(*one, "images") for one in experiment["generators"].items()]
        trained += [(*one, "masks") for one in (experiment.get("mask_generators") or {}).items()]
        trained += [("anomaly", experiment["anomaly"]["generator"], "images")] if experiment.get("anomaly") else []
        for own, entry, learns in trained:
            if entry is not None and "config" in entry:
                for case in of_generator(entry, experiment, learns):
                    note(f"{name}: {own}", [entry["config"], entry["training"]["batch_size"]], case)
        for task, entry in experiment["tasks"].items():
            if entry is not None and entry["model"].get("kind") == "segmenter":
                note(
                    f"{name}: {task}",
                    entry["model"]["training"]["batch_size"],
                    of_segmenter(entry["model"], experiment),
                )
    return {", ".join(names): case for names, case in found.values()}


# ----------------------------------------------------------------------------------------------------------- measuring
@dataclass(frozen=True)
class Row:
    """images: a second (of the CPU); memory: GB, None on a CPU; reason: why there is neither."""

    images: float = float("nan")
    memory: float | None = None
    reason: str = ""


def measure(case: Case, variant: Variant, device: torch.device, steps: int) -> Row:
    gpu = device.type == "cuda"
    wait, clock = (torch.cuda.synchronize, time.perf_counter) if gpu else (lambda: None, time.process_time)
    try:
        step, images = case.build(variant, device, WARM_UP + steps)
        for _ in range(WARM_UP):
            step()
        wait()
        if gpu:
            torch.cuda.reset_peak_memory_stats()
        before = clock()
        for _ in range(steps):
            step()
        wait()
        return Row(images * steps / (clock() - before), torch.cuda.max_memory_allocated() / 1e9 if gpu else None)
    except (RuntimeError, InputError) as error:  # too large, not to be compiled, no weights: the table says so
        return Row(reason=f"{type(error).__name__}: {str(error).splitlines()[0]:.60}")
    finally:
        gc.collect()
        if gpu:
            torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--overlay", type=Path, default=ROOT / "workflow" / "scales" / "paper.yaml")
    parser.add_argument("--experiments", nargs="+", help="default: all")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = choose_device(arguments.device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    card = torch.cuda.get_device_name() if device.type == "cuda" else "no GPU: CPU time"
    print(f"{card}; {machine()}, torch {torch.__version__}\n")
    print("| network | images | variant | images/s | × plain | GB |\n|---|---|---|---|---|---|", flush=True)
    for where, case in cases(read_params(arguments.overlay), arguments.experiments).items():
        plain = None
        for name in arguments.variants:
            row = measure(case, VARIANTS[name], device, arguments.steps)
            plain = row.images if name == "plain" else plain
            ratio = "" if plain is None or row.reason else f"{row.images / plain:.2f}"
            memory = "" if row.memory is None else f"{row.memory:.2f}"
            shown = row.reason or f"{row.images:.2f}"
            print(f"| {case.name} ({where}) | {case.shape} | {name} | {shown} | {ratio} | {memory} |", flush=True)


if __name__ == "__main__":
    main()
