# Synthetic image sets.
for experiment in EXPERIMENTS:
    entry = config["experiments"][experiment]
    for name in generators(experiment):
        generator = entry["generators"][name]
        if name in external(experiment):
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
                **generator["sampling"],
            },
        )


rule sample:
    input:
        settings="results/{experiment}/settings/sample.{generator}.json",
        checkpoints=lambda w: [
            checkpoint_of(w.experiment, w.generator, part) for part in trainings(w.experiment, w.generator)
        ],
        images="results/{experiment}/images/train.zip",
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
    threads: lambda w: config["experiments"][w.experiment]["generators"][w.generator]["sampling"]["threads"]
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
