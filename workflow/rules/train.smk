# Training of every generator, each on its part of the training images.
for experiment in EXPERIMENTS:
    entry = config["experiments"][experiment]
    for name, generator in trained_generators(experiment).items():
        if "trained_as" in generator:
            continue
        for number, (part, training, _) in enumerate(repeated(generator)):
            declare(
                "train",
                f"results/{experiment}/settings/train.{name}.{part}.json",
                {
                    "model": generator["model"],
                    "classes": entry["classes"],
                    "labels": training["labels"],
                    "learns": "masks" if name in mask_drawers(experiment) else "images",
                    # Of other classes and of repeats: other first weights and other noise.
                    "seed": seed_of(entry["seed"], part) if number else entry["seed"],
                    "config": generator["config"],
                    "training": {**generator["training"], "steps": training["steps"]},
                },
            )
    for name in trained_here(experiment):
        model = {"model": trained_generators(experiment)[name]["model"]}
        declare("describe-networks", f"results/{experiment}/settings/describe_networks.{name}.json", model)


rule train:
    input:
        settings="results/{experiment}/settings/train.{generator}.{part}.json",
        images=images_to_learn,
        initial=initial_checkpoint,
        perceptual_weights=lambda w: perceptual_weights(w.experiment, w.generator),
        code=code("results/{experiment}/settings/train.{generator}.{part}.json"),
    output:
        checkpoint="results/{experiment}/generators/{generator}/{part}.pt",
        history="results/{experiment}/generators/{generator}/{part}.history.csv",
        samples="results/{experiment}/generators/{generator}/{part}.samples.png",
        states="results/{experiment}/generators/{generator}/{part}.states.zip",
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


rule describe_networks:
    input:
        settings="results/{experiment}/settings/describe_networks.{generator}.json",
        checkpoint=lambda w: f"results/{w.experiment}/generators/{w.generator}/{trainings(w.experiment, w.generator)[0]}.pt",
        code=code("results/{experiment}/settings/describe_networks.{generator}.json"),
    output:
        out="results/{experiment}/generators/{generator}/networks.json",
    log:
        "logs/{experiment}/describe_networks.{generator}.log",
    benchmark:
        "logs/{experiment}/describe_networks.{generator}.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("describe-networks")
