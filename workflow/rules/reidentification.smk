# Unseen images of the training patients, where the split sets some aside.
for experiment in EXPERIMENTS:
    if config["experiments"][experiment]["split"]["of_each_patient"] is not None:
        declare("unseen-images", f"results/{experiment}/settings/unseen_images.json", {})

# Are patients recognised in generated images? Classifiers of patients, asked about images that they have not seen.
for experiment in having("reidentification"):
    entry, asked = config["experiments"][experiment], reidentification(experiment)
    folder = f"results/{experiment}/settings"
    options = {name: asked[name] for name in ("patients", "variants", "changes", "recogniser")}
    about = {"extractor": asked["extractor"], "classes": entry["classes"], "seed": entry["seed"]}
    about |= {"sets": asked_generators(experiment), **entry["extractors"][asked["extractor"]]}
    declare("reidentify", f"{folder}/reidentify.json", {**options, **about})
    declare(
        "compare-identities",
        f"{folder}/compare_identities.json",
        {name: asked[name] for name in ("alpha", "margin")},
    )
    titles = {name: entry["generators"][name]["title"] for name in asked_generators(experiment)}
    dial = asked["dial"] and {**asked["dial"], "title": entry["tasks"][asked["dial"]["task"]]["title"]}
    shown = {"generators": titles, "dial": dial, "examples": entry["figures"]["examples"]}
    declare("section-reidentification", f"{folder}/section.reidentification.json", shown)


rule unseen_images:
    input:
        settings="results/{experiment}/settings/unseen_images.json",
        images=studied,
        train="results/{experiment}/images/train.zip",
        code=code("results/{experiment}/settings/unseen_images.json"),
    output:
        unseen="results/{experiment}/images/unseen.zip",
    log:
        "logs/{experiment}/unseen_images.log",
    benchmark:
        "logs/{experiment}/unseen_images.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("unseen-images")


rule reidentify:
    input:
        settings="results/{experiment}/settings/reidentify.json",
        train="results/{experiment}/images/train.zip",
        unseen="results/{experiment}/images/unseen.zip",
        synthetic=asked_images,
        features=asked_features,
        weights=asked_extractor,
        pretrained=recogniser_weights,
        code=code("results/{experiment}/settings/reidentify.json"),
    output:
        scores="results/{experiment}/reidentification/scores.csv",
        retrieval="results/{experiment}/reidentification/retrieval.csv",
        summary="results/{experiment}/reidentification/summary.json",
    log:
        "logs/{experiment}/reidentify.log",
    benchmark:
        "logs/{experiment}/reidentify.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: config["experiments"][w.experiment]["extractors"][reidentification(w.experiment)["extractor"]]["threads"]
    resources:
        gpu=1,
    shell:
        command("reidentify")


rule compare_identities:
    input:
        settings="results/{experiment}/settings/compare_identities.json",
        scores="results/{experiment}/reidentification/scores.csv",
        retrieval="results/{experiment}/reidentification/retrieval.csv",
        summary="results/{experiment}/reidentification/summary.json",
        code=code("results/{experiment}/settings/compare_identities.json"),
    output:
        out="results/{experiment}/reidentification/results.json",
    log:
        "logs/{experiment}/compare_identities.log",
    benchmark:
        "logs/{experiment}/compare_identities.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("compare-identities")


rule section_reidentification:
    input:
        settings="results/{experiment}/settings/section.reidentification.json",
        results="results/{experiment}/reidentification/results.json",
        train="results/{experiment}/images/train.zip",
        synthetic=asked_images,
        verdicts=dial_verdicts,
        document=document,
        code=code("results/{experiment}/settings/section.reidentification.json"),
    output:
        section="results/{experiment}/sections/reidentification.json",
        out=exhibits("reidentification"),
    log:
        "logs/{experiment}/section.reidentification.log",
    benchmark:
        "logs/{experiment}/section.reidentification.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-reidentification")
