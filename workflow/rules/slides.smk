# Whole slides: small pictures of some of them, and the report's section on where tiles were taken.
for experiment in from_slides():
    entry = config["experiments"][experiment]
    folder = f"results/{experiment}/settings"
    kept = {key: entry["prepare"][key] for key in ("reader", "tissue", "annotation", "seed")}
    source = dataset_of(experiment)["source"]
    declare("slide-overview", f"{folder}/slide_overview.json", {**kept, "source": source, "slides": 2})
    about = {key: entry["prepare"][key] for key in ("mpp", "size")}
    about |= {"classes": entry["classes"], "examples": entry["figures"]["examples"]}
    declare("section-slides", f"{folder}/section.slides.json", about)


rule slide_overview:
    input:
        settings="results/{experiment}/settings/slide_overview.json",
        raw=lambda w: raw(config["experiments"][w.experiment]["dataset"], "raw"),
        images="results/{experiment}/images/raw.zip",
        code=code("results/{experiment}/settings/slide_overview.json"),
    output:
        pictures="results/{experiment}/images/slides.zip",
    log:
        "logs/{experiment}/slide_overview.log",
    benchmark:
        "logs/{experiment}/slide_overview.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        raw=lambda w, input: shell_words(input.raw),
    shell:
        command("slide-overview", raw="{params.raw}")


rule section_slides:
    input:
        settings="results/{experiment}/settings/section.slides.json",
        images="results/{experiment}/images/raw.zip",
        pictures="results/{experiment}/images/slides.zip",
        rejects="results/{experiment}/images/raw.rejects.csv",
        code=code("results/{experiment}/settings/section.slides.json"),
    output:
        section="results/{experiment}/sections/slides.json",
        out=exhibits("slides"),
    log:
        "logs/{experiment}/section.slides.log",
    benchmark:
        "logs/{experiment}/section.slides.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-slides")
