"""DICOM → PNG: images/s of the whole way against pydicom's decode alone (the floor) and against the textbook way.

    python benchmarks/dicom_to_png.py [--size 2000] [--image-size 512] [--films 24] [--repeats 5] [--resample box]

Films of size × size pixels, 12 bits, noisy as films are, in several transfer syntaxes. First one film in one process,
CPU seconds, medians of interleaved repeats: floor = dcmread + pixel_array; ours = what prepare-dicom does with one film
(read, refuse, decode, window, percentiles, black borders, resize, PNG, tags; with the tag BurnedInAnnotation, and
without it, when letters are looked for); textbook = pixel_array, pydicom's LUT functions, numpy's percentiles, Pillow's
Lanczos and default PNG. Then the whole step on an archive of films with 1 and 2 processes, wall and CPU seconds.
"""

import argparse
import io
import resource
import tempfile
import time
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
from common import interleaved, machine
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless
from scipy.ndimage import gaussian_filter

from synthmed.core.settings import parse
from synthmed.data.sources.raw_image import RawImage
from synthmed.prepare.dicom import PrepareDicomSettings, _prepare_one, prepare

ENCODERS = {
    ExplicitVRLittleEndian: None,
    RLELossless: "pylibjpeg",
    JPEGLSLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
}


def film(size: int, seed: int, syntax: str, tagged: bool) -> bytes:
    """A made-up film: smooth shadows, quantum noise, a black border, MONOCHROME1, rescale and window.

    tagged: with BurnedInAnnotation = NO.
    """
    rng = np.random.default_rng(seed)
    shadows = gaussian_filter(rng.standard_normal((size // 8, size // 8)), size / 80)
    shadows = np.asarray(Image.fromarray(shadows.astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC))
    shadows = (shadows - shadows.min()) / np.ptp(shadows)
    pixels = 400 + 3000 * shadows + rng.normal(0, 12, (size, size))
    pixels[:, : size // 25] = 0
    stored = 4095 - pixels.clip(0, 4095).astype(np.uint16)
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = f"2.25.{seed + 1}"
    file.PatientID, file.PatientAge, file.PatientSex, file.ViewPosition = str(seed), "045Y", "F", "PA"
    if tagged:
        file.BurnedInAnnotation = "NO"
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME1"
    file.Rows = file.Columns = size
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 12, 11, 0
    file.WindowCenter, file.WindowWidth = 2200, 3800
    file.RescaleSlope, file.RescaleIntercept = 1, 0
    file.add_new("PixelData", "OW", stored.tobytes())
    if ENCODERS[syntax] is not None:
        file.compress(syntax, encoding_plugin=ENCODERS[syntax], generate_instance_uid=False)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, file, enforce_file_format=True)
    return buffer.getvalue()


def floor(content: bytes) -> np.ndarray:
    """pydicom's decode alone."""
    return pydicom.dcmread(io.BytesIO(content)).pixel_array


def textbook(content: bytes, image_size: int) -> bytes:
    """The way of the tutorials: each step on the whole film."""
    file = pydicom.dcmread(io.BytesIO(content))
    pixels = apply_voi_lut(apply_modality_lut(file.pixel_array, file), file)
    if file.PhotometricInterpretation == "MONOCHROME1":
        pixels = pixels.max() - pixels
    low, high = np.percentile(pixels, [1, 99])
    grey = (np.clip((pixels - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grey).resize((image_size, image_size), Image.Resampling.LANCZOS).save(buffer, "PNG")
    return buffer.getvalue()


def raw_image(content: bytes) -> RawImage:
    """The film as a source would give it."""
    return RawImage("film", "film", "normal", "", "", "made up", lambda: content, (), {})


def archive(path: Path, contents: list[bytes]) -> None:
    """The films as source chest_dicom packs them."""
    rows = ["file,patient,findings,device,mask,split,source"]
    with zipfile.ZipFile(path, "w") as packed:
        for number, content in enumerate(contents):
            packed.writestr(f"films/{number:05d}.dcm", content)
            rows.append(f"films/{number:05d}.dcm,,{'nodule' if number % 2 else ''},,,,made up")
        packed.writestr("labels.csv", "\n".join(rows) + "\n")
        packed.writestr("boxes.csv", "file,finding,x_min,y_min,x_max,y_max\n")


def cpu() -> float:
    """CPU seconds of this process and of its finished children."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=2000, help="pixels of both sides of a film")
    parser.add_argument("--image-size", type=int, default=512, help="pixels of both sides of a PNG")
    parser.add_argument("--films", type=int, default=24, help="in the archive")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--resample", choices=["lanczos", "bicubic", "box"], default="box")
    arguments = parser.parse_args()
    values = {
        "source": "chest_dicom", "labels": {"normal": "normal", "abnormal": "abnormal"}, "keep": [],
        "size": [arguments.image_size] * 2, "crop_black_borders": True, "resample": arguments.resample, "masks": None,
        "min_size": 64, "voi": "lut_or_window", "voi_number": 1, "lower_percentile": 1.0, "upper_percentile": 99.0,
        "detect_burnt_in": True, "salt": "films that nobody is on", "salt_file": None, "file_names": "hidden",
        "max_rejects": 0.0, "workers": 1, "prefix": "",
    }  # fmt: skip
    settings = parse(PrepareDicomSettings, values)
    print(f"{machine()}, numpy {np.__version__}, pydicom {pydicom.__version__}")
    print(f"films of {arguments.size}² pixels, 12 bits → PNG of {arguments.image_size}², {arguments.resample}\n")
    print("one film, one process: images/CPU s (× floor)")
    for syntax in ENCODERS:
        tagged, untagged = (film(arguments.size, 0, syntax, tagged) for tagged in (True, False))
        contestants = {
            "floor": partial(floor, tagged),
            "ours": partial(_prepare_one, raw_image(tagged), settings, b"salt"),
            "ours, looking for letters": partial(_prepare_one, raw_image(untagged), settings, b"salt"),
            "textbook": partial(textbook, tagged, arguments.image_size),
        }
        for run in contestants.values():
            run()  # warms up
        seconds = interleaved(contestants, arguments.repeats)
        shown = (f"{name} {1 / used:6.1f} ({used / seconds['floor']:.2f})" for name, used in seconds.items())
        print(f"  {syntax.keyword:24s} {len(tagged) / 1e6:5.1f} MB   {'   '.join(shown)}")

    print(f"\nthe step, archives of {arguments.films} films: images/s of wall time, images/CPU s (ratios to 1 process)")
    for syntax in (ExplicitVRLittleEndian, JPEGLSLossless):
        contents = [film(arguments.size, number, syntax, True) for number in range(4)]
        contents = [contents[number % 4] for number in range(arguments.films)]
        with tempfile.TemporaryDirectory() as folder:
            raw = Path(folder) / "dicom.zip"
            archive(raw, contents)
            rates = {}
            for workers in (0, 1, 2):
                start, used = time.perf_counter(), cpu()
                if workers == 0:
                    for content in contents:
                        floor(content)
                else:
                    chosen = parse(PrepareDicomSettings, values | {"workers": workers})
                    outputs = {name: Path(folder) / f"{name}.{workers}" for name in ("images", "rejects")}
                    prepare(chosen, raw=[raw], **outputs)
                elapsed, used = time.perf_counter() - start, cpu() - used
                rates[workers] = (len(contents) / elapsed, len(contents) / used)
        for workers, (wall, by_cpu) in rates.items():
            name = f"{workers} process{'es' * (workers > 1)}" if workers else "floor, in this process"
            print(
                f"  {syntax.keyword:24s} {name:24s} {wall:6.1f} ({wall / rates[1][0]:.2f})   "
                f"{by_cpu:6.1f} ({by_cpu / rates[1][1]:.2f})"
            )


if __name__ == "__main__":
    main()
