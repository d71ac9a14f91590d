"""Made-up result files in the real formats, for the tests of this room. No number in them was measured."""

from pathlib import Path

import numpy as np
from PIL import Image

from synthmed.core.files import write_csv, write_json
from synthmed.data.imageset import write_image_set
from synthmed.metrics.estimate import Estimate

CLASSES = ("normal", "abnormal")
GENERATORS = {
    "dcgan": {"model": "dcgan", "title": "DCGAN", "receptive_field": None, "of": "dcgan"},
    "fastgan": {"model": "fastgan", "title": "FastGAN", "receptive_field": None, "of": "fastgan"},
    "cyclegan_46": {"model": "cyclegan", "title": "CycleGAN 46", "receptive_field": 46, "of": "cyclegan_46"},
    "cyclegan_22": {"model": "cyclegan", "title": "CycleGAN 22", "receptive_field": 22, "of": "cyclegan_22"},
    "cyclegan_10": {"model": "cyclegan", "title": "CycleGAN 10", "receptive_field": 10, "of": "cyclegan_10"},
}


def arm(title, kind, generator, n_train, synthetic):
    return {
        "title": title,
        "kind": kind,
        "set": generator,
        "n_train": n_train,
        "share": synthetic / n_train,
        "trainings": 1,
        "uses_up": False,
        "budget_limited": kind == "classic",
    }


ARMS = {
    "real": arm("Real only", "real", None, 240, 0),
    "classic": arm("Real + classic augmentation", "classic", None, 960, 0),
    "duplicates": arm("Real + duplicated real", "duplicates", None, 360, 0),
    "oracle": arm("Real + oracle", "oracle", "oracle", 360, 120),
    **{name: arm(f"Real + {name}", "generator", name, 360, 120) for name in GENERATORS},
    "oracle_shuffled": arm("Real + oracle, labels shuffled", "label_shuffled", "oracle", 360, 120),
    **{
        f"fastgan_x{share}": arm(
            f"Real + fastgan, {share} × real", "sweep", "fastgan", 240 + int(240 * share), int(240 * share)
        )
        for share in (0.1, 0.25, 1, 2)
    },
    "only_fastgan": arm("fastgan only", "synthetic_only", "fastgan", 240, 240),
}
EXTRACTORS = ("Inception-v3 (FID, 2015-12-05)", "filters learnt by k-means on the real training images")
METRICS = {
    "fid": 120,
    "fid_infinity": 110,
    "kid": 0.12,
    "inception_score": 2.1,
    "precision": 0.6,
    "recall": 0.3,
    "density": 0.7,
    "coverage": 0.5,
}


OUTCOMES = {
    name: {"title": title, "unit": "", "higher_is_better": True}
    for name, title in (
        ("auroc", "AUROC"),
        ("accuracy", "accuracy"),
        ("sensitivity", "sensitivity"),
        ("specificity", "specificity"),
    )
}


def around(rng, centre, width):
    value = float(centre + rng.normal(0, width / 2))
    return Estimate(value, value - width, value + width, 160).to_json()


def fidelity(rng, generator, extractor, scale):
    def groups(factor, fakes, share=1.0):
        found = {}
        for name in ("all", "mean of classes", *CLASSES):
            part = 2 if name in CLASSES else 1
            found[name] = {"n_real": 240 // part, "n_fake": fakes // part} | {
                metric: around(rng, centre * factor, 0.08 * centre * share) for metric, centre in METRICS.items()
            }
        return found

    result = {
        "generator": generator,
        "view": "image",
        "extractor": extractor,
        "n_real": 240,
        "n_fake": 360,
        "groups": groups(scale, 360),
        "matched": groups(scale * 1.1, 160),
        "floor": groups(0.3, 160, 0.5),
        "duplicate": groups(0.1, 160, 0.5),
    }
    result["groups"]["normal"]["recall"] = Estimate.missing("needs at least 12 patients on each side").to_json()
    return result


def diversity(rng, generators=tuple(GENERATORS), labels=CLASSES):
    """Of the real images, the held-out ones and each generator."""
    groups = [*labels, "mean of classes"] if len(labels) > 1 else labels
    sets = []
    for place, name in enumerate(("real", "held_out", *generators)):
        measures = {}
        for measure, centre in (("ms_ssim", 0.2 + 0.1 * place), ("lpips", 0.6 - 0.05 * place)):
            measures[measure] = around(rng, centre, 0.02)
            measures |= {f"{measure}_excess": around(rng, 0.1 * place, 0.03)} if name != "real" else {}
        sets.append({"name": name, "size": [64, 64], "groups": {group: {"n": 30} | measures for group in groups}})
    return {"level": 0.95, "sets": sets}


def copies(generator, place):
    def share(count, n=360):
        return Estimate(count / n, 0.8 * count / n, min(1, 1.2 * count / n), n).to_json()

    def space(count):
        return {
            "limit": 0.8,
            "suspects": count,
            "suspect_share": share(count),
            "expected_share": 0.0123,
            "mean_ratio": 1.0,
            "smallest_ratio": 0.7,
            "p": {"mean": 0.4, "small": 0.5, "smallest": 0.6},
            "p_smallest": 0.4 if count < 9 else 1e-6,
            "p_comparable": 0.5,
            "origin_identity": None,
        }

    found = place > 3
    return {
        "generator": generator,
        "extractor": EXTRACTORS[0],
        "fitted_features": True,
        "n_train": 240,
        "n_held_out": 80,
        "n_fake": 360,
        "alarm": {"word": "copies", "reason": "12 images are nearer than chance"} if found else NONE_FOUND,
        "alpha": 0.05,
        "suspects": 4 * place,
        "identical": 0,
        "suspect_share": share(4 * place),
        "by_space": {"features": space(3 * place), "pixels": space(2 * place)},
        "detection": {
            "images": 360,
            "generated": 360,
            "honest": 180,
            "shares": [0.01, 0.05],
            "copies": [4, 18],
            "sets": 100,
            "false_alarms": share(3, 100),
            "kinds": [{"kind": "blur", "images_found": share(30, 40), "sets_found": [share(40, 100), share(98, 100)]}],
            "changed": {"sets": 100, "found": 98},
        },
        "detection_limit": "Of 100 sets of 360 images with 5% copies of training images, the audit finds: blur 98.",
        "origin_identity": share(324) if generator.startswith("cyclegan") else None,
        "origin_chance": 0.0083 if generator.startswith("cyclegan") else None,
        "secondary": {"authenticity": share(180), "c_t": Estimate(0.3, n=360).to_json(), "note": "neither separates"},
        "closest_pairs": [],
    }


NONE_FOUND = {"word": "none found", "reason": "no test of the set reaches p ≤ 0.05"}


def verdicts(rng, outcomes=OUTCOMES, classes=CLASSES, arms=ARMS, **changed):
    """Verdicts of one task. outcomes: the first decides."""
    effects = {"classic": 0.02, "dcgan": -0.05, "fastgan": 0.03, "only_fastgan": -0.12, "oracle": 0.05}
    decides, found = next(iter(outcomes)), {}
    for name, entry in arms.items():
        effect = effects.get(name, 0.001 if entry["kind"] == "duplicates" else 0.008)
        tested = {"outcomes": {key: around(rng, 0.83 + effect, 0.04) for key in outcomes}}
        if classes:
            count = len(classes)
            hits = 67.6 + 30 * effect
            rest = (80 - hits) / max(1, count - 1)
            tested["confusion"] = [[hits if i == j else rest for j in range(count)] for i in range(count)]
            tested["recall"] = {label: around(rng, 0.8, 0.05) for label in classes}
        found[name] = entry | {"tests": {"test": tested}, "versus_reference": None}
        if name == "real":
            for generator in GENERATORS:
                found[name]["tests"][generator] = tested
            continue
        difference = around(rng, effect, 0.018)
        word = (
            "helps" if difference["low"] > 0 else "harms" if difference["high"] < 0 else "no evidence of a difference"
        )
        found[name]["versus_reference"] = {
            "outcomes": {key: {"difference": difference, "p": 0.01} for key in outcomes},
            "p": 0.01,
            "p_holm": 0.0004 if word == "helps" else 0.04,
            "p_equivalent": 0.2,
            "family": "main",
            "verdict": word,
            "reason": None,
            "equivalent": abs(difference["low"]) < 0.03 > abs(difference["high"]),
            "elsewhere": {},
            "also": {"delong": {"difference": Estimate(effect).to_json(), "p": 0.03}},
        }
    return {
        "task": "classification",
        "title": "Do they help the classifier?",
        "kind": "classification" if classes else "segmentation",
        "outcome": decides,
        "outcomes": outcomes,
        "reference": "real",
        "swap": None,
        "tests": ["test", *GENERATORS],
        "classes": list(classes),
        "positive": classes[-1] if classes else None,
        "alpha": 0.05,
        "margin": 0.03,
        "leaking": False,
        "seeds": 5,
        "images": {"test": 160},
        "patients": {"test": 130},
        "patients_known": True,
        "rule": "A made-up rule.",
        "arms": found,
        "not_made": {},
        "comparisons": [],
        "against": [],
    } | changed


def images(path, source, rng, size=64, count=8):
    y, x = np.mgrid[:size, :size] / size
    rows = []
    for label in CLASSES:
        for number in range(count):
            lungs = np.exp(-((x - 0.3) ** 2 + (y - 0.5) ** 2) / 0.03) + np.exp(
                -((x - 0.7) ** 2 + (y - 0.5) ** 2) / 0.03
            )
            pixels = 200 - 150 * lungs + rng.normal(0, 8 if source == "real" else 25, (size, size))
            fields = {
                "image": f"{source}_{label}_{number:05d}.png",
                "label": label,
                "patient": f"p{number}",
                "source": source,
            }
            rows.append((fields, np.clip(pixels, 0, 255).astype(np.uint8)))
    write_image_set(path, rows)
    return path


def roc(path):
    rows = [
        {"task": "classification", "arm": arm, "false_positive_rate": rate, "true_positive_rate": rate**power}
        for power, arm in zip(np.linspace(0.2, 0.5, len(ARMS)), ARMS, strict=True)
        if ARMS[arm]["kind"] != "sweep"
        for rate in np.linspace(0, 1, 21).tolist()
    ]
    write_csv(path, rows, list(rows[0]))
    return path


def history(path, rng, trainings):
    """The losses of all trainings, as `metrics` writes them."""
    rows = [
        {
            "training": name,
            "step": step,
            "loss": loss,
            "value": float(np.exp(-step / 700) + 0.2 * i + rng.normal(0, 0.05)),
        }
        for name, losses in trainings.items()
        for i, loss in enumerate([*losses, "diversity"])
        for step in range(10, 1010, 250 if loss == "diversity" else 20)
    ]
    write_csv(path, rows, list(rows[0]))
    return path


def picture(path):
    Image.new("L", (300, 200), 90).save(path)
    return path


def save_json(path, content):
    write_json(path, content)
    return path


def write_all(folder: Path) -> dict:
    """Write every input of this room below `folder`; returns the paths by the keywords of the steps."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    losses = {"dcgan": ["generator", "discriminator"], "fastgan": ["generator", "discriminator", "reconstruction"]}
    trainings = {f"{name}_{label}": losses[name] for name in losses for label in CLASSES} | {
        f"cyclegan_{field}": ["adversarial", "cycle", "identity", "discriminator_normal", "discriminator_abnormal"]
        for field in (46, 22, 10)
    }
    grid = [
        {
            "learning_rate": rate,
            "dropout": dropout,
            "accuracy": 0.8 + 0.01 * i - 0.01 * j,
            "false_positives": 8 + j,
            "false_negatives": 9,
        }
        for i, rate in enumerate((0.0001, 0.0002, 0.0003))
        for j, dropout in enumerate((0.3, 0.4, 0.5))
    ]
    write_csv(folder / "grid.csv", grid, list(grid[0]))
    return {
        "train": images(folder / "train.zip", "real", rng),
        "synthetics": [images(folder / f"{name}.zip", name, rng) for name in GENERATORS],
        "fidelity": [
            save_json(folder / f"fidelity_{name}_{n}.json", fidelity(rng, name, extractor, 1.3 - 0.15 * place))
            for n, extractor in enumerate(EXTRACTORS)
            for place, name in enumerate(GENERATORS)
        ],
        "diversity": save_json(folder / "diversity.json", diversity(np.random.default_rng(1))),
        "copies": [
            save_json(folder / f"copies_{name}.json", copies(name, place)) for place, name in enumerate(GENERATORS)
        ],
        "verdicts": save_json(folder / "verdicts.json", verdicts(rng)),
        "roc": roc(folder / "roc.csv"),
        "history": history(folder / "training.csv", rng, trainings),
        "pairs": [picture(folder / f"{name}.png") for name in GENERATORS],
        "trainings": [
            save_json(
                folder / "settings.json",
                {
                    "model": "dcgan",
                    "labels": list(CLASSES),
                    "config": {},
                    "training": {"steps": 1200, "batch_size": 8, "accumulate": 1},
                },
            )
        ],
        "grid": folder / "grid.csv",
        "summary": save_json(
            folder / "summary.json",
            {
                "backbone": "VGG16 (ImageNet)",
                "learning_rate": 0.0003,
                "dropout": 0.3,
                "steps": 300,
                "batch_size": 16,
                "seeds": 5,
                "selection": "A made-up rule of selection.",
            },
        ),
        "split_report": save_json(
            folder / "split.json",
            {
                "counts": {
                    part: {"normal": n, "abnormal": n} for part, n in (("train", 120), ("validation", 40), ("test", 80))
                },
                "patients": {"train": 200, "validation": 70, "test": 130},
                "patients_known": True,
                "cautions": ["the test part has few patients"],
                "sources": {},
                "near_duplicates": {
                    "rule": "at most 4 of 64 bits differ",
                    "action": "report",
                    "found": 0,
                    "across_parts": 0,
                    "pairs": [],
                },
            },
        ),
        "validation": save_json(
            folder / "validation.json",
            {
                "backbone": "VGG16 (ImageNet)",
                "rule": "A made-up rule.",
                "alpha": 0.05,
                "level": 0.95,
                "seeds": 5,
                "repeats": 40,
                "images_per_class": {"real": 50, "test": 60},
                "outcome": "AUROC",
                "real": {"mean": 0.81, "standard_deviation": 0.03},
                "false_helps": {
                    "nominal": 0.025,
                    "arms": ["duplicates", "null"],
                    "count": 1,
                    "rate": Estimate(0.025, 0.001, 0.13, 40).to_json(),
                    "bound": 0.05,
                    "holds": False,
                    "broken": False,
                },
                "cases": [
                    {
                        "case": case,
                        "arm": case,
                        "expected": expected,
                        "repeats": 40,
                        "verdicts": {
                            verdict: {
                                "count": count,
                                "rate": Estimate(
                                    count / 40, max(0, count / 40 - 0.1), min(1, count / 40 + 0.1), 40
                                ).to_json(),
                            }
                            for verdict, count in zip(
                                ("helps", "no evidence of a difference", "harms"), counts, strict=True
                            )
                        },
                    }
                    for case, expected, counts in (
                        ("oracle: fresh real images", "helps", (37, 3, 0)),
                        ("duplicates", "no evidence of a difference", (1, 39, 0)),
                        ("shuffled labels", "harms", (0, 4, 36)),
                        ("null: nothing added", "no evidence of a difference", (1, 38, 1)),
                    )
                ],
            },
        ),
    }
