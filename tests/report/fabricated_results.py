"""Made-up result files in the real formats, for the tests of this room. No number in them was measured."""

from pathlib import Path

import numpy as np

from synthmed.core.files import write_csv, write_json
from synthmed.data.imageset import write_image_set

CLASSES = ("normal", "abnormal")
GENERATORS = {
    "dcgan": {"model": "dcgan", "title": "DCGAN", "receptive_field": None},
    "fastgan": {"model": "fastgan", "title": "FastGAN", "receptive_field": None},
    "cyclegan_46": {"model": "cyclegan", "title": "CycleGAN 46", "receptive_field": 46},
    "cyclegan_22": {"model": "cyclegan", "title": "CycleGAN 22", "receptive_field": 22},
    "cyclegan_10": {"model": "cyclegan", "title": "CycleGAN 10", "receptive_field": 10},
}


ADDED = {"normal": 60, "abnormal": 60}


def arm(title, kind, generator, n_train, synthetic):
    return {
        "title": title,
        "kind": kind,
        "generator": generator,
        "n_train": n_train,
        "n_real": 240,
        "added": ADDED,
        "share": synthetic / n_train,
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
EXTRACTORS = ("Inception-v3 (FID, 2015-12-05)", "small CNN trained on the real training set")
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


def around(rng, centre, width):
    value = centre + rng.normal(0, width / 2)
    return {"value": value, "low": value - width, "high": value + width}


def fidelity(rng, generator, extractor, scale):
    def groups(factor, fakes, share=1.0):
        found = {}
        for name in ("all", *CLASSES):
            part = 1 if name == "all" else 2
            found[name] = {"n_real": 240 // part, "n_fake": fakes // part} | {
                metric: around(rng, centre * factor, 0.08 * centre * share) for metric, centre in METRICS.items()
            }
        return found

    result = {
        "generator": generator,
        "extractor": extractor,
        "n_real": 240,
        "n_fake": 360,
        "groups": groups(scale, 360),
        "matched": groups(scale * 1.1, 160),
        "floor": groups(0.3, 160, 0.5),
        "duplicate": groups(0.1, 160, 0.5),
    }
    result["groups"]["normal"]["recall"] = {"value": None, "reason": "needs at least 12 patients on each side"}
    return result


def copies(generator, place):
    def space(count):
        return {
            "threshold": 0.4,
            "suspects": count,
            "suspect_share": {"value": count / 360, "low": 0.8 * count / 360, "high": 1.2 * count / 360},
            "expected_share": 0.0123,
            "p": 0.4 if count < 9 else 1e-6,
            "distances": {},
        }

    origin = {"value": 0.9, "low": 0.86, "high": 0.93} if generator.startswith("cyclegan") else None
    return {
        "generator": generator,
        "extractor": EXTRACTORS[0],
        "n_train": 240,
        "n_held_out": 80,
        "n_fake": 360,
        "quantile": 0.01,
        "suspects": 4 * place,
        "identical": 0,
        "suspect_share": {"value": 4 * place / 360, "low": 3 * place / 360, "high": 6 * place / 360},
        "by_space": {"features": space(3 * place), "pixels": space(2 * place)},
        "nearest_is_origin": origin,
        "closest_pairs": [],
    }


def verdicts(rng):
    effects = {
        "classic": 0.02,
        "duplicates": 0.001,
        "dcgan": -0.05,
        "fastgan": 0.03,
        "only_fastgan": -0.12,
        "oracle": 0.05,
        "oracle_shuffled": -0.1,
    }
    arms = {}
    for name, entry in ARMS.items():
        effect = effects.get(name, 0.008)
        arm = {
            "kind": entry["kind"],
            "n_train": entry["n_train"],
            "false_positives": 12.4 - 30 * effect,
            "false_negatives": 15.2 - 30 * effect,
            "confusion": [[67.6 + 30 * effect, 12.4 - 30 * effect], [15.2 - 30 * effect, 64.8 + 30 * effect]],
            **{key: around(rng, 0.83 + effect, 0.04) for key in ("accuracy", "auroc", "sensitivity", "specificity")},
        }
        if name != "real":
            difference = around(rng, effect, 0.018)
            verdict = (
                "helps"
                if difference["low"] > 0
                else "harms"
                if difference["high"] < 0
                else "no evidence of a difference"
            )
            arm["versus_real"] = {
                "auroc_difference": difference,
                "accuracy_difference": around(rng, effect, 0.03),
                "p": 0.01,
                "p_bootstrap": 0.02,
                "p_delong": 0.03,
                "p_accuracy": 0.2,
                "p_mcnemar": 0.3,
                "p_holm": 0.04 if verdict != "helps" else 0.0004,
                "verdict": verdict,
                "equivalent": abs(difference["low"]) < 0.03 > abs(difference["high"]),
            }
        arms[name] = arm
    return {
        "positive": "abnormal",
        "classes": list(CLASSES),
        "real": "real",
        "alpha": 0.05,
        "margin": 0.03,
        "seeds": 5,
        "test_images": 160,
        "test_patients": 130,
        "rule": "A made-up rule.",
        "arms": arms,
    }


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


def predictions(path, rng, cases=60, seeds=3):
    rows = []
    for arm in ARMS:
        for seed in range(seeds):
            for case in range(cases):
                positive = case % 2
                score = 1 / (1 + np.exp(-rng.normal(1.2 if positive else -1.2, 1.5)))
                rows.append(
                    {
                        "arm": arm,
                        "seed": seed,
                        "image": f"i{case}.png",
                        "patient": f"p{case}",
                        "label": CLASSES[positive],
                        "p_normal": 1 - score,
                        "p_abnormal": score,
                    }
                )
    write_csv(path, rows, list(rows[0]))
    return path


def history(path, rng, losses):
    rows = []
    for step in range(10, 1010, 10):
        row = {"step": step} | {
            name: float(np.exp(-step / 700) + 0.2 * i + rng.normal(0, 0.05)) for i, name in enumerate(losses)
        }
        rows.append(row | {"diversity": 0.8 if step % 250 == 0 else None})
    write_csv(path, rows, list(rows[0]))
    return path


def save_json(path, content):
    write_json(path, content)
    return path


def write_all(folder: Path) -> dict:
    """Write every input of this room below `folder`; returns the paths by the keyword of the steps."""
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
        "copies": [
            save_json(folder / f"copies_{name}.json", copies(name, place)) for place, name in enumerate(GENERATORS)
        ],
        "verdicts": save_json(folder / "verdicts.json", verdicts(rng)),
        "predictions": predictions(folder / "predictions.csv", rng),
        "histories": [history(folder / f"history_{name}.csv", rng, names) for name, names in trainings.items()],
        "trainings": list(trainings),
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
                "arms": ARMS,
                "synthetic": {
                    name: {label: {"value": 0.7, "low": 0.6, "high": 0.8, "n": 180} for label in (*CLASSES, "all")}
                    for name in GENERATORS
                },
            },
        ),
        "split_report": save_json(
            folder / "split.json",
            {
                "counts": {
                    part: {"normal": n, "abnormal": n} for part, n in (("train", 120), ("validation", 40), ("test", 80))
                },
                "patients": {"train": 200, "validation": 70, "test": 130},
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
                "seeds": 5,
                "repeats": 40,
                "images_per_class": {"real": 50, "test": 60},
                "real_auroc": {"mean": 0.81, "standard_deviation": 0.03},
                "false_helps": {
                    "nominal": 0.025,
                    "arms": ["duplicates", "null"],
                    "count": 1,
                    "rate": {"value": 0.025, "low": 0.001, "high": 0.13},
                    "holds": True,
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
                                "rate": {
                                    "value": count / 40,
                                    "low": max(0, count / 40 - 0.1),
                                    "high": min(1, count / 40 + 0.1),
                                },
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
