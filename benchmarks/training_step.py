"""Images/s of one training step of every generator: as configured, against the textbook step of the same networks.

    python benchmarks/training_step.py [--experiment tuberculosis] [--models dcgan fastgan cyclegan]
                                       [--overlay workflow/scales/paper.yaml] [--steps 2] [--repeats 5] [--threads 1]

Configurations are those of params.yaml (the first entry of each model, with the overlay); a model that grows is
measured at its full size. The reference is the textbook step (plain_steps.py) in eager fp32, contiguous; ours follows
in both precisions and memory formats, on the CPU. The repeats are interleaved and CPU seconds are counted, so other
load on the machine hits all alike. With more than one thread the numbers are images a CPU second, not a second. The
losses of our first step in fp32, contiguous, must agree with the reference's to 1e-3, else the benchmark fails: both do
the same work. Pix2Pix is measured with one, two and three discriminators, and with a perceptual loss on VGG16's layers
with random weights, which take as long as trained ones.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from common import interleaved, machine, read_params
from plain_steps import STEPS, plain_step

from synthmed import generators
from synthmed.core.settings import parse
from synthmed.data.channels import MaskChannels
from synthmed.data.imageset import Legend
from synthmed.generators import pggan
from synthmed.generators.base import Generator
from synthmed.networks import vgg16
from synthmed.training.device import choose_device
from synthmed.training.images import Batch, to_model

VARIANTS = {
    "fp32, contiguous": ("fp32", torch.contiguous_format),
    "fp32, channels-last": ("fp32", torch.channels_last),
    "bf16, contiguous": ("bf16", torch.contiguous_format),
    "bf16, channels-last": ("bf16", torch.channels_last),
}


def entry_of(model: str, experiment: dict) -> tuple[str, dict]:
    """Name and settings of the first generator of the experiment with this model."""
    for name, entry in experiment["generators"].items():
        if entry is not None and entry["model"] == model:
            return name, entry
    raise SystemExit(f"the experiment has no generator with the model {model!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=list(STEPS), help="default: all it has")
    parser.add_argument("--experiment", default="tuberculosis")
    parser.add_argument("--overlay", type=Path, help="a file of workflow/scales/")
    parser.add_argument("--steps", type=int, default=2, help="training steps of one repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="default: as configured")
    arguments = parser.parse_args()

    experiment = read_params(arguments.overlay)["experiments"][arguments.experiment]
    choose_device("cpu")
    print(f"{machine()}, torch {torch.__version__}")
    configured = {entry["model"] for entry in experiment["generators"].values() if entry is not None}
    for model in arguments.models or [model for model in STEPS if model in configured]:
        name, entry = entry_of(model, experiment)
        with tempfile.TemporaryDirectory() as folder:
            for words, changes in variations(model, Path(folder)).items():
                measure(name + words, entry | {"config": entry["config"] | changes}, experiment, arguments)


def variations(model: str, folder: Path) -> dict[str, dict]:
    """Words → changes of the configuration with which a generator is measured too."""
    if model != "pix2pix":
        return {"": {}}
    weights = folder / "vgg16.pt"
    torch.save({f"features.{name}": value for name, value in vgg16.convolutions().state_dict().items()}, weights)
    layers = {"relu1_2": 100.0, "relu2_2": 200.0, "relu3_3": 300.0}
    perceptual = {"l1_weight": 0.0, "perceptual_layers": layers, "perceptual_weights": str(weights)}
    several = {f", {count} discriminators": {"scales": count} for count in (2, 3)}
    return {"": {}, **several, ", perceptual loss": perceptual}


def measure(name: str, entry: dict, experiment: dict, arguments: argparse.Namespace) -> None:
    """Time all variants of one generator and print its table."""
    training = entry["training"]
    threads = arguments.threads or training["threads"]
    torch.set_num_threads(threads)
    model_class = generators.load(entry["model"])
    config = parse(model_class.Config, entry["config"])
    size = training["size"] or experiment["prepare"]["size"]
    shape = (experiment["prepare"]["channels"], *size)
    classes = tuple(experiment["classes"]) if "image" in model_class.needs else ("one",)
    per_step = training["batch_size"] * (len(classes) if "image" in model_class.needs else 1)
    drawn = (per_step, *size, experiment["prepare"]["channels"])  # as images are read: channels last
    pixels = torch.randint(0, 256, drawn, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pixels = pixels.permute(0, 3, 1, 2)
    labels = torch.arange(len(classes)).repeat_interleave(per_step // len(classes))
    given, masks = [], None
    if "mask" in model_class.needs:
        prepared = experiment["prepare"]["masks"]
        legend = Legend(masks=prepared["kind"], classes=prepared["classes"])
        given = [len(MaskChannels(training["masks"], legend).names)]
        masks = torch.rand(per_step, *given, *size, generator=torch.Generator().manual_seed(1)).round() * 2 - 1

    def built(precision: str, memory_format: torch.memory_format) -> tuple[Generator, Batch]:
        torch.manual_seed(0)
        model = model_class(config, shape, classes, *given).to(memory_format=memory_format)
        model.rng.manual_seed(0)
        model.precision, model.total_steps = precision, 10**9
        if isinstance(model, pggan.Model):
            model.images_seen = 10**9
        of_masks = None if masks is None else masks.contiguous(memory_format=memory_format)
        return model, Batch(to_model(pixels).contiguous(memory_format=memory_format), labels, of_masks)

    def several(step: Callable[[], dict]) -> None:
        for _ in range(arguments.steps):
            step()

    model, batch = built("fp32", torch.contiguous_format)
    steps = {"textbook, fp32, contiguous": partial(plain_step(entry["model"], model), batch)}
    for variant, (precision, memory_format) in VARIANTS.items():
        model, batch = built(precision, memory_format)
        steps[f"ours, {variant}"] = partial(model.train_step, [batch])

    first: dict[str, dict[str, float]] = {}
    for variant, step in steps.items():  # also warms up
        torch.manual_seed(0)  # of dropout
        first[variant] = {key: loss.item() for key, loss in step().items()}
    reference, same, *_ = steps
    for key, value in first[reference].items():
        if abs(first[same][key] - value) > 1e-3 * max(1.0, abs(value)):
            raise SystemExit(f"{name}, {same}: loss {key} is {first[same][key]}, the textbook's is {value}")

    seconds = interleaved({variant: partial(several, step) for variant, step in steps.items()}, arguments.repeats)
    chosen = f"ours, {training['precision']}, {'channels-last' if training['channels_last'] else 'contiguous'}"
    print(
        f"\n{name}: {entry['model']}, {' × '.join(map(str, shape))}, batch {training['batch_size']}"
        f"{' of each class' if len(classes) > 1 else ''}, {threads} threads"
    )
    for variant, value in seconds.items():
        rate = per_step * arguments.steps / value
        mark = "   <- as configured" if variant == chosen else ""
        print(f"  {variant:28s} {rate:8.2f} images/CPU s   {seconds[reference] / value:5.2f} × the textbook step{mark}")


if __name__ == "__main__":
    main()
