# AnoGAN: a generator of normal images, the search in its latent space, and what it finds against a supervised classifier.
for experiment in having("anomaly"):
    entry = config["experiments"][experiment]
    folder = f"results/{experiment}/settings"
    anomaly = entry["anomaly"]
    ((part, training),) = anomaly["generator"]["trainings"].items()
    (normal,) = training["labels"]
    shared = {"seed": entry["seed"], "model": anomaly["generator"]["model"]}
    declare("train-encoder", f"{folder}/train_encoder.json", {**anomaly["encoder"], **shared, "labels": [normal]})
    for search, settings in anomaly["searches"].items():
        # The threshold is set on normal images that neither the generator nor the classifier was trained on. (The
        # classifier's state was chosen by them, which the report says.)
        step = {key: value for key, value in settings.items() if key != "title"}
        chosen = {"labels": [normal], "limit": anomaly["held_out_limit"]}
        declare("anomaly-search", f"{folder}/anomaly_search.{search}.validation.json", {**step, **shared, **chosen})
        for images in query_sets(experiment):
            chosen = {"labels": None, "limit": anomaly["query_limit"]}
            declare("anomaly-search", f"{folder}/anomaly_search.{search}.{images}.json", {**step, **shared, **chosen})
    declare(
        "anomaly-evaluate",
        f"{folder}/anomaly_evaluate.json",
        {
            **anomaly["evaluation"],
            "searches": searches(experiment),
            "normal": normal,
            "kinds": kinds(experiment),
            "seed": entry["seed"],
        },
    )
    titles = {search: settings["title"] for search, settings in anomaly["searches"].items()}
    declare(
        "section-anomaly",
        f"{folder}/section.anomaly.json",
        {"generator": anomaly["generator"]["title"], "searches": titles},
    )


rule train_encoder:
    input:
        settings="results/{experiment}/settings/train_encoder.json",
        checkpoint=anomaly_checkpoint,
        images="results/{experiment}/images/train.zip",
        code=code("results/{experiment}/settings/train_encoder.json"),
    output:
        encoder="results/{experiment}/anomaly/encoder.pt",
        history="results/{experiment}/anomaly/encoder.history.csv",
    log:
        "logs/{experiment}/train_encoder.log",
    benchmark:
        "logs/{experiment}/train_encoder.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: threads_of(config["experiments"][w.experiment]["anomaly"]["encoder"])
    resources:
        gpu=lambda w: config["experiments"][w.experiment]["anomaly"]["encoder"]["processes"],
    shell:
        command("train-encoder")


rule anomaly_search:
    input:
        settings="results/{experiment}/settings/anomaly_search.{search}.{images}.json",
        checkpoint=anomaly_checkpoint,
        encoder=search_encoder,
        images="results/{experiment}/images/{images}.zip",
        code=code("results/{experiment}/settings/anomaly_search.{search}.{images}.json"),
    output:
        found="results/{experiment}/anomaly/{search}/{images}.npz",
        times="results/{experiment}/anomaly/{search}/{images}.times.json",
    log:
        "logs/{experiment}/anomaly_search.{search}.{images}.log",
    benchmark:
        "logs/{experiment}/anomaly_search.{search}.{images}.benchmark.tsv"
    wildcard_constraints:
        search="[a-z0-9_]+",
        images="validation|test|set_aside",
    conda:
        ENVIRONMENT
    threads: lambda w: config["experiments"][w.experiment]["anomaly"]["searches"][w.search]["threads"]
    resources:
        gpu=1,
    shell:
        command("anomaly-search")


rule anomaly_evaluate:
    input:
        settings="results/{experiment}/settings/anomaly_evaluate.json",
        held_out_images="results/{experiment}/images/validation.zip",
        held_out=lambda w: [
            f"results/{w.experiment}/anomaly/{search}/validation.npz" for search in searches(w.experiment)
        ],
        query_images=lambda w: [f"results/{w.experiment}/images/{images}.zip" for images in query_sets(w.experiment)],
        queries=searched("npz"),
        classifier=classifier_of("anomaly"),
        classifier_report=classifier_of("anomaly", ".report.json"),
        code=code("results/{experiment}/settings/anomaly_evaluate.json"),
    output:
        out="results/{experiment}/anomaly/results.json",
        cases="results/{experiment}/anomaly/cases.csv",
        examples="results/{experiment}/anomaly/examples.npz",
    log:
        "logs/{experiment}/anomaly_evaluate.log",
    benchmark:
        "logs/{experiment}/anomaly_evaluate.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: config["experiments"][w.experiment]["anomaly"]["evaluation"]["threads"]
    resources:
        gpu=1,
    shell:
        command("anomaly-evaluate")


rule section_anomaly:
    input:
        settings="results/{experiment}/settings/section.anomaly.json",
        results="results/{experiment}/anomaly/results.json",
        cases="results/{experiment}/anomaly/cases.csv",
        examples="results/{experiment}/anomaly/examples.npz",
        times=searched("times.json"),
        document=document,
        code=code("results/{experiment}/settings/section.anomaly.json"),
    output:
        section="results/{experiment}/sections/anomaly.json",
        out=exhibits("anomaly"),
    log:
        "logs/{experiment}/section.anomaly.log",
    benchmark:
        "logs/{experiment}/section.anomaly.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-anomaly")
