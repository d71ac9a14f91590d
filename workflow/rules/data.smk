# From raw files to the three parts of an experiment.
# raw: what is studied. pool: more phantoms of the same distribution (null where nature gives no more).
for dataset, entry in config["datasets"].items():
    for kind, options in {"raw": entry["options"], "pool": entry["pool"]}.items():
        if options is not None:
            content = {
                "source": entry["source"],
                "provider": entry["provider"],
                "options": options,
            }
            declare("fetch", f"data/{dataset}/settings/{kind}.json", content)


# One rule a data set and kind, because each has raw files of its own names.
for dataset, kind in [Path(path).relative_to("data").parts[::2] for path in SETTINGS if path.startswith("data/")]:
    kind = Path(kind).stem

    rule:
        name:
            f"fetch_{dataset}_{kind}"
        input:
            settings=f"data/{dataset}/settings/{kind}.json",
            code=code(f"data/{dataset}/settings/{kind}.json"),
        output:
            raw=raw(dataset, kind),
        log:
            f"logs/{dataset}/fetch_{kind}.log",
        benchmark:
            f"logs/{dataset}/fetch_{kind}.benchmark.tsv"
        priority: urgency_of_data(dataset)
        # On a cluster by the machine that submits: the others often have no internet.
        localrule: config["datasets"][dataset]["provider"] == "download"
        conda:
            ENVIRONMENT
        params:
            raw=lambda w, output: shell_words(output.raw),
        shell:
            command("fetch", raw="{params.raw}")


for dataset in config["datasets"]:

    rule:
        name:
            f"data_{dataset}"
        input:
            [raw(dataset, kind) for kind in ("raw", "pool") if f"data/{dataset}/settings/{kind}.json" in SETTINGS],
        localrule: True


for experiment in EXPERIMENTS:
    entry = config["experiments"][experiment]
    folder = f"results/{experiment}/settings"
    prepare = {**without_workers(entry["prepare"]), "source": dataset_of(experiment)["source"]}
    verb = prepared_by(experiment)
    real = {"synthetic": None} if verb == "prepare" else {}
    declare(verb, f"{folder}/prepare.raw.json", {**prepare, **real, "prefix": ""})
    if has_pool(experiment):
        declare(verb, f"{folder}/prepare.pool.json", {**prepare, **real, "prefix": "pool_"})
    for name, generator in external(experiment).items():
        # Prepared like the real images; films become 8-bit grey pictures, and that is how their generators are saved.
        shared = {key: entry["prepare"][key] for key in AS_THE_REAL if key in entry["prepare"]}
        content = {
            "channels": 1,
            **shared,
            "source": config["datasets"][generator["dataset"]]["source"],
            "labels": generator["labels"] or {label: label for label in entry["classes"]},
            "prefix": f"{name}_",
            "synthetic": name,
        }
        declare("prepare", f"{folder}/prepare.{name}.json", content)
    if original_masks_of(experiment):
        content = {**prepare, **real, "prefix": ""}
        declare(original_masks_by(experiment), f"{folder}/original_masks.json", content)
    declare("split", f"{folder}/split.json", entry["split"])
    declare("check-needs", f"{folder}/check_needs.json", needs(experiment))


rule prepare:
    input:
        settings="results/{experiment}/settings/prepare.{kind}.json",
        raw=lambda w: raw(config["experiments"][w.experiment]["dataset"], w.kind),
        code=code("results/{experiment}/settings/prepare.{kind}.json"),
    output:
        images="results/{experiment}/images/{kind,raw|pool}.zip",
        rejects="results/{experiment}/images/{kind}.rejects.csv",
    log:
        "logs/{experiment}/prepare.{kind}.log",
    benchmark:
        "logs/{experiment}/prepare.{kind}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: workers
    params:
        verb=lambda w: prepared_by(w.experiment),
        raw=lambda w, input: shell_words(input.raw),
    shell:
        command("prepare", run="{params.verb}", raw="{params.raw}") + WORKERS


# Synthetic images that were made elsewhere.
rule prepare_external:
    input:
        settings="results/{experiment}/settings/prepare.{generator}.json",
        raw=lambda w: raw(external(w.experiment)[w.generator]["dataset"], "raw"),
        code=code("results/{experiment}/settings/prepare.{generator}.json"),
    output:
        images="results/{experiment}/images/synthetic/{generator}.zip",
        rejects="results/{experiment}/images/synthetic/{generator}.rejects.csv",
    log:
        "logs/{experiment}/prepare.{generator}.log",
    benchmark:
        "logs/{experiment}/prepare.{generator}.benchmark.tsv"
    wildcard_constraints:
        experiment=f"(?={EXTERNAL_SETS})[a-z0-9_]+",
    conda:
        ENVIRONMENT
    threads: workers
    shell:
        command("prepare") + WORKERS


rule split:
    input:
        settings="results/{experiment}/settings/split.json",
        images=studied,
        code=code("results/{experiment}/settings/split.json"),
    output:
        train="results/{experiment}/images/train.zip",
        validation="results/{experiment}/images/validation.zip",
        test="results/{experiment}/images/test.zip",
        report="results/{experiment}/images/split.json",
    log:
        "logs/{experiment}/split.log",
    benchmark:
        "logs/{experiment}/split.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("split")


# The masks of the test images at their original size, where segmenters are judged there.
rule original_masks:
    input:
        settings="results/{experiment}/settings/original_masks.json",
        raw=lambda w: raw(config["experiments"][w.experiment]["dataset"], "raw"),
        test="results/{experiment}/images/test.zip",
        code=code("results/{experiment}/settings/original_masks.json"),
    output:
        originals="results/{experiment}/images/test_masks.zip",
    log:
        "logs/{experiment}/original_masks.log",
    benchmark:
        "logs/{experiment}/original_masks.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        verb=lambda w: original_masks_by(w.experiment),
    shell:
        command("original-masks", run="{params.verb}") + WORKERS


# Whether the arms can have the images that they ask for, and the test part the patients. First of all that is ready,
# so that at most what begins beside it is in vain (with all cores, to be alone, it would wait until no other experiment had
# anything to do). No input of the training, which would then be repeated for every changed arm. (As an input marked
# ancient() it would make Snakemake 9.27 overlook other changes behind it.)
rule check_needs:
    input:
        settings="results/{experiment}/settings/check_needs.json",
        split_report="results/{experiment}/images/split.json",
        parts=needed_parts,
        synthetic=lambda w: [f"results/{w.experiment}/images/synthetic/{name}.zip" for name in external(w.experiment)],
        code=code("results/{experiment}/settings/check_needs.json"),
    output:
        out="results/{experiment}/images/needs.json",
    log:
        "logs/{experiment}/check_needs.log",
    benchmark:
        "logs/{experiment}/check_needs.benchmark.tsv"
    priority: 100
    localrule: True
    conda:
        ENVIRONMENT
    shell:
        command("check-needs")
