# Synthetic image sets, and sets of masks for the generators that paint images for them.
for experiment in EXPERIMENTS:
    entry = config["experiments"][experiment]
    for name, generator in trained_generators(experiment).items():
        if "sampling" not in generator:
            continue
        declare(
            "sample",
            f"results/{experiment}/settings/sample.{name}.json",
            {
                "model": generator["model"],
                "generator": name,
                "classes": entry["classes"],
                "trainings": {part: training["labels"] for part, training in generator["trainings"].items()},
                "repeats": repeats_of(generator),
                "seed": entry["seed"],
                "truncation": None,
                "start_scale": None,
                **generator["sampling"],
            },
        )
    for name, deformed in mask_generators(experiment).items():
        if name not in mask_drawers(experiment):
            options = {key: value for key, value in deformed.items() if key not in ("model", "title", "paints")}
            own = {"generator": name, "seed": entry["seed"]}
            declare("deform-masks", f"results/{experiment}/settings/deform_masks.{name}.json", {**options, **own})


rule sample:
    input:
        settings="results/{experiment}/settings/sample.{generator}.json",
        checkpoints=lambda w: [
            checkpoint_of(w.experiment, w.generator, part) for part in trainings(w.experiment, w.generator)
        ],
        images=sources_of_samples,
        code=code("results/{experiment}/settings/sample.{generator}.json"),
    output:
        synthetic="results/{experiment}/images/synthetic/{generator}.zip",
    log:
        "logs/{experiment}/sample.{generator}.log",
    benchmark:
        "logs/{experiment}/sample.{generator}.benchmark.tsv"
    wildcard_constraints:
        experiment=f"(?!{PSEUDO_LABELLED}|{EXTERNAL_SETS})[a-z0-9_]+",
    conda:
        ENVIRONMENT
    threads: lambda w: trained_generators(w.experiment)[w.generator]["sampling"]["threads"]
    resources:
        gpu=1,
    shell:
        command("sample")


# The same for a generator that cannot be asked for a class; the rule pseudo_label finds the labels.
use rule sample as sample_unlabelled with:
    output:
        synthetic="results/{experiment}/images/unlabelled/{generator}.zip",
    log:
        "logs/{experiment}/sample_unlabelled.{generator}.log",
    benchmark:
        "logs/{experiment}/sample_unlabelled.{generator}.benchmark.tsv"
    wildcard_constraints:
        experiment="[a-z0-9_]+",


use rule sample as sample_masks with:
    output:
        synthetic="results/{experiment}/images/masks/{generator}.zip",
    log:
        "logs/{experiment}/sample_masks.{generator}.log",
    benchmark:
        "logs/{experiment}/sample_masks.{generator}.benchmark.tsv"
    wildcard_constraints:
        experiment=f"(?!{DEFORMED_MASKS})[a-z0-9_]+",


rule deform_masks:
    input:
        settings="results/{experiment}/settings/deform_masks.{generator}.json",
        images="results/{experiment}/images/train.zip",
        code=code("results/{experiment}/settings/deform_masks.{generator}.json"),
    output:
        deformed="results/{experiment}/images/masks/{generator}.zip",
    log:
        "logs/{experiment}/deform_masks.{generator}.log",
    benchmark:
        "logs/{experiment}/deform_masks.{generator}.benchmark.tsv"
    wildcard_constraints:
        experiment=f"(?={DEFORMED_MASKS})[a-z0-9_]+",
    conda:
        ENVIRONMENT
    threads: lambda w: mask_generators(w.experiment)[w.generator]["threads"]
    shell:
        command("deform-masks")
