# Training of every generator, each on its part of the training images.
for experiment in EXPERIMENTS:
    entry = config["experiments"][experiment]
    for name, generator in trained_generators(experiment).items():
        for part, training, repeat in repeated(generator):
            declare(
                "train",
                f"results/{experiment}/settings/train.{name}.{part}.json",
                {
                    "model": generator["model"],
                    "classes": entry["classes"],
                    "labels": training["labels"],
                    "seed": entry["seed"] + repeat,
                    "config": generator["config"],
                    "training": {**generator["training"], "steps": training["steps"]},
                },
            )


rule train:
    input:
        settings="results/{experiment}/settings/train.{generator}.{part}.json",
        images="results/{experiment}/images/train.zip",
        perceptual_weights=lambda w: perceptual_weights(w.experiment, w.generator),
        code=code("results/{experiment}/settings/train.{generator}.{part}.json"),
    output:
        checkpoint="results/{experiment}/generators/{generator}/{part}.pt",
        history="results/{experiment}/generators/{generator}/{part}.history.csv",
        samples="results/{experiment}/generators/{generator}/{part}.samples.png",
    log:
        "logs/{experiment}/train.{generator}.{part}.log",
    benchmark:
        "logs/{experiment}/train.{generator}.{part}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: threads_of(training_of(w))
    resources:
        gpu=lambda w: training_of(w)["processes"],
    shell:
        command("train")
