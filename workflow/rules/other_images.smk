# Images of another data set than the experiment's own: prepared, without those that it knows, and divided.
for experiment in EXPERIMENTS:
    folder = f"results/{experiment}/settings"
    for name, other in other_images(experiment).items():
        source = config["datasets"][other["dataset"]]["source"]
        content = {**without_workers(other["prepare"]), "source": source, "synthetic": None, "prefix": ""}
        declare("prepare", f"{folder}/prepare_other.{name}.json", content)
        declare("split", f"{folder}/split_other.{name}.json", other["split"])
        if other["drop"]:
            declare("drop-known", f"{folder}/drop_known.{name}.json", other["drop"])


rule prepare_other:
    input:
        settings="results/{experiment}/settings/prepare_other.{other}.json",
        raw=lambda w: raw(other_images(w.experiment)[w.other]["dataset"], "raw"),
        code=code("results/{experiment}/settings/prepare_other.{other}.json"),
    output:
        images="results/{experiment}/images/{other}/all.zip",
        rejects="results/{experiment}/images/{other}/all.rejects.csv",
    log:
        "logs/{experiment}/prepare_other.{other}.log",
    benchmark:
        "logs/{experiment}/prepare_other.{other}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: other_images(w.experiment)[w.other]["prepare"]["workers"]
    shell:
        command("prepare") + WORKERS


rule drop_known:
    input:
        settings="results/{experiment}/settings/drop_known.{other}.json",
        images=lambda w: f"results/{w.experiment}/images/{w.other}/{dropped_from(w)}.zip",
        known=known_images,
        code=code("results/{experiment}/settings/drop_known.{other}.json"),
    output:
        kept="results/{experiment}/images/{other}/unseen.zip",
        report="results/{experiment}/images/{other}/unseen.json",
    log:
        "logs/{experiment}/drop_known.{other}.log",
    benchmark:
        "logs/{experiment}/drop_known.{other}.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("drop-known")


rule split_other:
    input:
        settings="results/{experiment}/settings/split_other.{other}.json",
        images=divided,
        code=code("results/{experiment}/settings/split_other.{other}.json"),
    output:
        train="results/{experiment}/images/{other}/train.zip",
        validation="results/{experiment}/images/{other}/validation.zip",
        test="results/{experiment}/images/{other}/test.zip",
        report="results/{experiment}/images/{other}/split.json",
    log:
        "logs/{experiment}/split_other.{other}.log",
    benchmark:
        "logs/{experiment}/split_other.{other}.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("split")
