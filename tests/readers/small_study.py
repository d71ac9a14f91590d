"""A study of twelve images: real ones and two synthetic sets, one of them edited; rulers are not shown."""

import numpy as np

from synthmed.data.imageset import write_image_set
from synthmed.readers.form import FormSettings, write_form
from synthmed.readers.study import Question, ShownSet, StudySettings, draw_study

QUESTIONS = {
    "diagnosis": Question("What is it?", {"benign": "a benign lesion", "melanoma": "a melanoma"}, True),
    "synthetic": Question("Is the image synthetic?", {"synthetic": "yes", "real": "no"}, True),
    "certainty": Question("How certain are you?", {str(n): str(n) for n in range(1, 6)}, False),
}
TWO = {"benign": 2, "melanoma": 2}
SETTINGS = StudySettings(
    title="Real & <synthetic>?", purpose=("First </script> paragraph.", "Second."), consent="I agree.",
    backgrounds={"dermatologist": "dermatologist", "lay": "somebody else"}, questions=QUESTIONS,
    sets={"real": ShownSet(TWO, False, False), "gan": ShownSet(TWO, True, False), "edited": ShownSet(TWO, True, True)},
    examples=2, skip=("ruler",), screened={}, display_size=128, tagged={}, seed=1,
)  # fmt: skip


def write_set(path, name, each, *, size=16, ruler=0):
    """`each` images of each label, the first `ruler` of them with a ruler; patients of their own."""
    rng = np.random.default_rng(len(name))
    rows = [
        (
            {"image": f"{name}_{label}_{n}.png", "label": label, "patient": f"{name} {label} {n}", "split": "",
             "source": name, "ruler": "yes" if n < ruler else "no", "hair": "yes" if n % 2 else "no"},
            rng.integers(0, 256, (size, size, 3), dtype=np.uint8),
        )
        for label in ("benign", "melanoma")
        for n in range(each)
    ]  # fmt: skip
    write_image_set(path, rows)


def drawn(folder, settings=SETTINGS, each=4, **features):
    """The study in `folder`: study.json, key.zip, examples.zip, form.html."""
    for name in ("real", "gan", "edited", "train"):
        if not (folder / f"{name}.zip").exists():
            write_set(folder / f"{name}.zip", name, each, ruler=1)
    draw_study(
        settings,
        sets=[folder / f"{name}.zip" for name in settings.sets],
        features=features.get("features", []),
        real_features=features.get("real_features"),
        tags=features.get("tags"),
        real=folder / "train.zip",
        key=folder / "key.zip",
        examples=folder / "examples.zip",
        out=folder / "study.json",
    )
    files = {"study": folder / "study.json", "key": folder / "key.zip", "examples": folder / "examples.zip"}
    write_form(FormSettings(), **files, out=folder / "form.html")
    return folder
