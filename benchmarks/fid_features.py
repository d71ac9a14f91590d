"""Images/s of the FID features: ours against torch-fidelity's with the same weights. Prints both and the ratio.

    python benchmarks/fid_features.py [--images 64] [--batch 16] [--size 299] [--threads 2] [--repeats 3]

Both see the same random uint8 images; the repeats alternate between them, so that other load on the machine hits both.
The features must agree to 1e-3 absolute and 1e-4 of the feature's own scale, else the benchmark fails.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from synthmed.extractors.inception import Inception
from synthmed.weights import read


def torch_fidelity_extractor(state: dict[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """torch-fidelity's FeatureExtractorInceptionV3 with `state`, as a function uint8 (N, 3, H, W) → (N, 2048)."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    state = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008), **state}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "inception.pth"
        torch.save(state, path)
        extractor = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(path))
    return lambda images: extractor(images)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=299)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    state, source = read.load("inception", None)
    cpu = torch.device("cpu")
    fp32, bf16 = (Inception(state, source, precision, cpu) for precision in ("fp32", "bf16"))
    contestants: dict[str, Callable[[Tensor], Tensor]] = {
        "torch-fidelity": torch_fidelity_extractor(state),
        "ours, fp32": lambda images: fp32(images).features,
        "ours, bf16 (changes values)": lambda images: bf16(images).features,
    }
    size = arguments.size
    images = torch.randint(
        0, 256, (arguments.images, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    batches = images.split(arguments.batch)
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    features: dict[str, Tensor] = {}
    with torch.inference_mode():
        for run in contestants.values():
            run(batches[0])
        for _ in range(arguments.repeats):
            for name, run in contestants.items():
                start = time.perf_counter()
                features[name] = torch.cat([run(batch) for batch in batches])
                seconds[name].append(time.perf_counter() - start)

    reference = features["torch-fidelity"]
    difference = (features["ours, fp32"] - reference).abs()
    print(
        f"weights: {source}; {arguments.images} images of {size}², batch {arguments.batch}, {arguments.threads} threads"
    )
    base = arguments.images / statistics.median(seconds["torch-fidelity"])
    for name, values in seconds.items():
        rate = arguments.images / statistics.median(values)
        print(f"{name:30s} {rate:7.2f} images/s   {rate / base:5.2f} × torch-fidelity")
    print(f"largest difference of a feature: {difference.max():.1e} (features reach {reference.max():.2f})")
    torch.testing.assert_close(features["ours, fp32"], reference, atol=1e-3, rtol=1e-4)


if __name__ == "__main__":
    main()
