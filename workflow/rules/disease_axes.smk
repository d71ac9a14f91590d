# Directions of diseases in the latent space of a generator.
for experiment in having("disease_axes"):
    entry = config["experiments"][experiment]
    folder = f"results/{experiment}/settings"
    axes = entry["disease_axes"]
    model = entry["generators"][axes["generator"]]["model"]
    seed = {"seed": entry["seed"]}
    generator = {**seed, "generator": axes["generator"], "model": model}
    declare("latent-samples", f"{folder}/latent_samples.json", {**axes["samples"], **generator, "label": None})
    declare("disease-axes", f"{folder}/disease_axes.json", {**axes["axes"], **seed})
    declare("move-along-axes", f"{folder}/move_along_axes.json", {**axes["paths"], **generator})
    declare(
        "section-disease-axes",
        f"{folder}/section.disease_axes.json",
        {"generator": entry["generators"][axes["generator"]]["title"], "examples": entry["figures"]["examples"]},
    )


rule latent_samples:
    input:
        settings="results/{experiment}/settings/latent_samples.json",
        checkpoint=axes_checkpoint,
        classifier=classifier_of("disease_axes"),
        code=code("results/{experiment}/settings/latent_samples.json"),
    output:
        samples="results/{experiment}/disease_axes/samples.npz",
    log:
        "logs/{experiment}/latent_samples.log",
    benchmark:
        "logs/{experiment}/latent_samples.benchmark.tsv"
    conda:
        ENVIRONMENT
    resources:
        gpu=1,
    shell:
        command("latent-samples")


rule disease_axes:
    input:
        settings="results/{experiment}/settings/disease_axes.json",
        samples="results/{experiment}/disease_axes/samples.npz",
        code=code("results/{experiment}/settings/disease_axes.json"),
    output:
        axes="results/{experiment}/disease_axes/axes.npz",
        report="results/{experiment}/disease_axes/axes.json",
    log:
        "logs/{experiment}/disease_axes.log",
    benchmark:
        "logs/{experiment}/disease_axes.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("disease-axes")


rule move_along_axes:
    input:
        settings="results/{experiment}/settings/move_along_axes.json",
        checkpoint=axes_checkpoint,
        classifier=classifier_of("disease_axes"),
        samples="results/{experiment}/disease_axes/samples.npz",
        axes="results/{experiment}/disease_axes/axes.npz",
        axes_report="results/{experiment}/disease_axes/axes.json",
        code=code("results/{experiment}/settings/move_along_axes.json"),
    output:
        images="results/{experiment}/disease_axes/manipulated.zip",
        cams="results/{experiment}/disease_axes/cams.zip",
        out="results/{experiment}/disease_axes/paths.json",
    log:
        "logs/{experiment}/move_along_axes.log",
    benchmark:
        "logs/{experiment}/move_along_axes.benchmark.tsv"
    conda:
        ENVIRONMENT
    resources:
        gpu=1,
    shell:
        command("move-along-axes")


rule section_disease_axes:
    input:
        settings="results/{experiment}/settings/section.disease_axes.json",
        axes_report="results/{experiment}/disease_axes/axes.json",
        paths="results/{experiment}/disease_axes/paths.json",
        images="results/{experiment}/disease_axes/manipulated.zip",
        cams="results/{experiment}/disease_axes/cams.zip",
        document=document,
        code=code("results/{experiment}/settings/section.disease_axes.json"),
    output:
        section="results/{experiment}/sections/disease_axes.json",
        out=exhibits("disease_axes"),
    log:
        "logs/{experiment}/section.disease_axes.log",
    benchmark:
        "logs/{experiment}/section.disease_axes.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-disease-axes")
