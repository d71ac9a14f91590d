# Editing something out of the images of a generator, by every method.
for experiment in having("latent_editing"):
    entry = config["experiments"][experiment]
    folder = f"results/{experiment}/settings"
    editing = entry["latent_editing"]
    generator = {
        "seed": entry["seed"],
        "generator": editing["generator"],
        "model": entry["generators"][editing["generator"]]["model"],
        "label": editing["label"],
    }
    declare("latent-samples", f"{folder}/latent_editing_samples.json", {**editing["samples"], **generator})
    declare("edit-latents", f"{folder}/edit_latents.json", {**editing["editing"], **generator})
    measured = {key: value for key, value in editing["path_length"].items() if key not in ("generators", "label")}
    for name, training, label in path_lengths(experiment):
        model = entry["generators"][name]["model"]
        about = {"seed": entry["seed"], "generator": name, "training": training, "model": model, "label": label}
        declare("path-length", f"{folder}/path_length.{name}.{training}.json", {**measured, **about})
    declare(
        "section-latent-editing",
        f"{folder}/section.latent_editing.json",
        {
            "generator": editing["generator"],
            "titles": {name: one["title"] for name, one in entry["generators"].items()},
        },
    )
    for name, one in derived_sets(experiment).items():
        if one["kind"] == "edited":
            content = {key: value for key, value in one.items() if key not in ("kind", "title")}
            walk = {key: editing["editing"][key] for key in ("distances", "keep_length", *EDIT_USE)}
            labels = entry["generators"][editing["generator"]]["trainings"][editing["training"]]["labels"]
            about = {"name": name, "model": generator["model"], "several": len(labels) > 1, "seed": entry["seed"]}
            declare("edit-set", f"{folder}/edit_set.{name}.json", {**content, **walk, **about})


rule latent_editing_samples:
    input:
        settings="results/{experiment}/settings/latent_editing_samples.json",
        checkpoint=edited_checkpoint,
        classifier=classifier_of("latent_editing"),
        code=code("results/{experiment}/settings/latent_editing_samples.json"),
    output:
        samples="results/{experiment}/latent_editing/samples.npz",
    log:
        "logs/{experiment}/latent_editing_samples.log",
    benchmark:
        "logs/{experiment}/latent_editing_samples.benchmark.tsv"
    conda:
        ENVIRONMENT
    resources:
        gpu=1,
    shell:
        command("latent-samples")


rule edit_latents:
    input:
        settings="results/{experiment}/settings/edit_latents.json",
        checkpoint=edited_checkpoint,
        classifier=classifier_of("latent_editing"),
        samples="results/{experiment}/latent_editing/samples.npz",
        code=code("results/{experiment}/settings/edit_latents.json"),
    output:
        images="results/{experiment}/latent_editing/edited.zip",
        out="results/{experiment}/latent_editing/editing.json",
        directions="results/{experiment}/latent_editing/directions.npz",
    log:
        "logs/{experiment}/edit_latents.log",
    benchmark:
        "logs/{experiment}/edit_latents.benchmark.tsv"
    conda:
        ENVIRONMENT
    resources:
        gpu=1,
    shell:
        command("edit-latents")


rule edit_set:
    input:
        settings="results/{experiment}/settings/edit_set.{derived}.json",
        checkpoint=edited_checkpoint,
        classifier=classifier_of("latent_editing"),
        directions="results/{experiment}/latent_editing/directions.npz",
        code=code("results/{experiment}/settings/edit_set.{derived}.json"),
    output:
        edited="results/{experiment}/images/derived/{derived}.zip",
    log:
        "logs/{experiment}/edit_set.{derived}.log",
    benchmark:
        "logs/{experiment}/edit_set.{derived}.benchmark.tsv"
    wildcard_constraints:
        experiment=f"(?={EDITED})[a-z0-9_]+",
        derived="[a-z0-9_]+",
    conda:
        ENVIRONMENT
    resources:
        gpu=1,
    shell:
        command("edit-set")


rule path_length:
    input:
        settings="results/{experiment}/settings/path_length.{generator}.{part}.json",
        checkpoint=lambda w: checkpoint_of(w.experiment, w.generator, w.part),
        weights=path_length_weights,
        code=code("results/{experiment}/settings/path_length.{generator}.{part}.json"),
    output:
        out="results/{experiment}/latent_editing/path_length/{generator}.{part}.json",
    log:
        "logs/{experiment}/path_length.{generator}.{part}.log",
    benchmark:
        "logs/{experiment}/path_length.{generator}.{part}.benchmark.tsv"
    conda:
        ENVIRONMENT
    resources:
        gpu=1,
    shell:
        command("path-length")


rule section_latent_editing:
    input:
        settings="results/{experiment}/settings/section.latent_editing.json",
        editing="results/{experiment}/latent_editing/editing.json",
        path_lengths=path_length_files,
        images="results/{experiment}/latent_editing/edited.zip",
        document=document,
        code=code("results/{experiment}/settings/section.latent_editing.json"),
    output:
        section="results/{experiment}/sections/latent_editing.json",
        out=exhibits("latent_editing"),
    log:
        "logs/{experiment}/section.latent_editing.log",
    benchmark:
        "logs/{experiment}/section.latent_editing.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-latent-editing")
