# What lies on images and is no finding: a tagger and how frequent it says things are, sets without them, and the ways of
# taking them out of pixels.
for experiment in having("tags"):
    entry = config["experiments"][experiment]
    folder = f"results/{experiment}/settings"
    named = ("classifier", "generators", "images")
    tags = {name: value for name, value in entry["tags"].items() if name not in named}
    tagger = trained_classifiers(experiment)[entry["tags"]["classifier"]]
    column = tagger["target_column"]
    known = {"target_column": column, "missing": tagger["missing"]}
    about = {"classes": entry["classes"], "sets": list(tagged_sets(experiment))}
    declare("measure-tags", f"{folder}/measure_tags.json", {**tags, **known, **about})
    declare(
        "section-artefacts",
        f"{folder}/section.artefacts.json",
        {
            "apart": tagged_images(experiment) is not None,
            "generators": {
                **{name: entry["generators"][name]["title"] for name in entry["tags"]["generators"]},
                **{name: derived_sets(experiment)[name]["title"] for name in edited_and_read(experiment)},
            },
            "titles": {name: one["title"] for name, one in entry["generators"].items()},
            "classes": entry["classes"],
            "column": column,
            "examples": entry["figures"]["examples"],
        },
    )
    for name, one in derived_sets(experiment).items():
        if one["kind"] == "filtered":
            content = {key: value for key, value in one.items() if key not in ("kind", "title")}
            declare("filter-samples", f"{folder}/filter_samples.{name}.json", content)

for experiment in having("removal"):
    content = {**config["experiments"][experiment]["removal"], "seed": config["experiments"][experiment]["seed"]}
    content["tagged"] = "real" if tagged_images(experiment) else None
    declare("measure-removal", f"results/{experiment}/settings/measure_removal.json", content)

for experiment in EXPERIMENTS:
    seed = config["experiments"][experiment]["seed"]
    folder = f"results/{experiment}/settings"
    for method in sorted(set(painted(experiment).values())):
        declare("paint-frames", f"{folder}/paint_frames.{method}.json", {"method": method, "seed": seed})
    if painted(experiment):
        level = config["experiments"][experiment]["tags"]["level"]
        about = {"methods": painted(experiment), "sets": list(searched_for_paint(experiment))}
        declare("measure-paint", f"{folder}/measure_paint.json", {**about, "level": level, "seed": seed})


rule measure_tags:
    input:
        settings="results/{experiment}/settings/measure_tags.json",
        classifier=classifier_of("tags"),
        train=labelled_images("train"),
        test=labelled_images("test"),
        synthetic=lambda w: list(tagged_sets(w.experiment).values()),
        code=code("results/{experiment}/settings/measure_tags.json"),
    output:
        out="results/{experiment}/artefacts/tags.json",
        tags="results/{experiment}/artefacts/tags.csv",
    log:
        "logs/{experiment}/measure_tags.log",
    benchmark:
        "logs/{experiment}/measure_tags.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: config["experiments"][w.experiment]["tags"]["threads"]
    resources:
        gpu=1,
    shell:
        command("measure-tags")


rule filter_samples:
    input:
        settings="results/{experiment}/settings/filter_samples.{derived}.json",
        images=lambda w: (
            f"results/{w.experiment}/images/synthetic/{derived_sets(w.experiment)[w.derived]['generator']}.zip"
        ),
        tags="results/{experiment}/artefacts/tags.csv",
        code=code("results/{experiment}/settings/filter_samples.{derived}.json"),
    output:
        filtered="results/{experiment}/images/derived/{derived}.zip",
    log:
        "logs/{experiment}/filter_samples.{derived}.log",
    benchmark:
        "logs/{experiment}/filter_samples.{derived}.benchmark.tsv"
    wildcard_constraints:
        experiment=f"(?={FILTERED})[a-z0-9_]+",
        derived="[a-z0-9_]+",
    conda:
        ENVIRONMENT
    shell:
        command("filter-samples")


rule measure_removal:
    input:
        settings="results/{experiment}/settings/measure_removal.json",
        images="results/{experiment}/images/train.zip",
        tags=removal_tags,
        code=code("results/{experiment}/settings/measure_removal.json"),
    output:
        out="results/{experiment}/artefacts/removal.json",
        pictures="results/{experiment}/artefacts/removal.zip",
    log:
        "logs/{experiment}/measure_removal.log",
    benchmark:
        "logs/{experiment}/measure_removal.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("measure-removal")


rule paint_frames:
    input:
        settings="results/{experiment}/settings/paint_frames.{method}.json",
        images="results/{experiment}/images/train.zip",
        code=code("results/{experiment}/settings/paint_frames.{method}.json"),
    output:
        painted="results/{experiment}/images/painted/{method}.zip",
    log:
        "logs/{experiment}/paint_frames.{method}.log",
    benchmark:
        "logs/{experiment}/paint_frames.{method}.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("paint-frames")


rule measure_paint:
    input:
        settings="results/{experiment}/settings/measure_paint.json",
        images="results/{experiment}/images/train.zip",
        synthetic=lambda w: list(searched_for_paint(w.experiment).values()),
        code=code("results/{experiment}/settings/measure_paint.json"),
    output:
        out="results/{experiment}/artefacts/paint.json",
    log:
        "logs/{experiment}/measure_paint.log",
    benchmark:
        "logs/{experiment}/measure_paint.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("measure-paint")


rule section_artefacts:
    input:
        settings="results/{experiment}/settings/section.artefacts.json",
        tags="results/{experiment}/artefacts/tags.json",
        images=labelled_images("train"),
        removal=of_removal("removal.json"),
        pictures=of_removal("removal.zip"),
        paint=of_paint,
        document=document,
        code=code("results/{experiment}/settings/section.artefacts.json"),
    output:
        section="results/{experiment}/sections/artefacts.json",
        out=exhibits("artefacts"),
    log:
        "logs/{experiment}/section.artefacts.log",
    benchmark:
        "logs/{experiment}/section.artefacts.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-artefacts")
