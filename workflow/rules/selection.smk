# Who is studied: exclusions in order, each counted; a small CNN finds devices where the data do not say.
for experiment in having("selection"):
    entry = config["experiments"][experiment]
    folder = f"results/{experiment}/settings"
    selection = {key: value for key, value in entry["selection"].items() if key != "device_classifier"}
    declare("exclude", f"{folder}/exclude.json", {**selection, "classes": entry["classes"]})
    declare(
        "section-selection",
        f"{folder}/section.selection.json",
        {
            "classes": entry["classes"],
            "findings": findings(experiment),
            "trainings": {
                generator["title"]: next(iter(generator["trainings"].values()))["labels"]
                for generator in trained_generators(experiment).values()
            },
        },
    )
    if set_aside(experiment):
        declare("set-aside", f"{folder}/set_aside.json", {})
    if chosen := entry["selection"]["device_classifier"]:
        declare("predict", f"{folder}/predict.{chosen}.json", entry["prediction"])


rule exclude:
    input:
        settings="results/{experiment}/settings/exclude.json",
        images="results/{experiment}/images/raw.zip",
        device_likelihoods=device("likelihoods.csv"),
        device_report=device("report.json"),
        code=code("results/{experiment}/settings/exclude.json"),
    output:
        selected="results/{experiment}/images/selected.zip",
        report="results/{experiment}/images/exclusions.json",
    log:
        "logs/{experiment}/exclude.log",
    benchmark:
        "logs/{experiment}/exclude.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("exclude")


rule set_aside:
    input:
        settings="results/{experiment}/settings/set_aside.json",
        images="results/{experiment}/images/raw.zip",
        exclusions="results/{experiment}/images/exclusions.json",
        code=code("results/{experiment}/settings/set_aside.json"),
    output:
        set_aside="results/{experiment}/images/set_aside.zip",
    log:
        "logs/{experiment}/set_aside.log",
    benchmark:
        "logs/{experiment}/set_aside.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("set-aside")


rule section_selection:
    input:
        settings="results/{experiment}/settings/section.selection.json",
        exclusions="results/{experiment}/images/exclusions.json",
        rejects="results/{experiment}/images/raw.rejects.csv",
        train="results/{experiment}/images/train.zip",
        validation="results/{experiment}/images/validation.zip",
        test="results/{experiment}/images/test.zip",
        document=document,
        code=code("results/{experiment}/settings/section.selection.json"),
    output:
        section="results/{experiment}/sections/selection.json",
        out=exhibits("selection"),
    log:
        "logs/{experiment}/section.selection.log",
    benchmark:
        "logs/{experiment}/section.selection.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-selection")
