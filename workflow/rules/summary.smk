# Tables, figures, the report, and what DVC reads.


for experiment in EXPERIMENTS:
    entry = config["experiments"][experiment]
    folder = f"results/{experiment}/settings"
    named = {
        name: {key: generator[key] for key in ("model", "title", "receptive_field")}
        for name, generator in entry["generators"].items()
    }
    classes = {"classes": entry["classes"], "positive": entry["positive"]}
    trained = [f"{name}, {part}" for name, part in all_trainings(experiment)]
    common = {"classes": entry["classes"], "generators": named}
    declare("tables", f"{folder}/tables.json", {**common, "references": entry["references"]})
    declare(
        "figures",
        f"{folder}/figures.json",
        {
            **common,
            **entry["figures"],
            "positive": entry["positive"],
            "seed": entry["seed"],
        },
    )
    declare(
        "page",
        f"{folder}/page.json",
        {
            **common,
            "positive": entry["positive"],
            "references": entry["references"],
            "title": entry["title"],
            "task": entry["task"],
            "provider": dataset_of(experiment)["provider"],
            "pseudo_labelled": pseudo_labelled(experiment),
        },
    )


rule tables:
    input:
        settings="results/{experiment}/settings/tables.json",
        fidelity=fidelity_files,
        copies=of_generators("copies", "json"),
        grid="results/{experiment}/classification/grid.csv",
        summary="results/{experiment}/classification/summary.json",
        verdicts="results/{experiment}/classification/verdicts.json",
        split_report="results/{experiment}/images/split.json",
        validation=validation,
        code=code("results/{experiment}/settings/tables.json"),
    output:
        out=[
            report(
                f"results/{{experiment}}/tables/{table}.csv",
                caption=f"../report/{table}.rst",
                category="{experiment}",
                subcategory="Tables",
            )
            for table in TABLES
        ],
    log:
        "logs/{experiment}/tables.log",
    benchmark:
        "logs/{experiment}/tables.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("tables")


rule figures:
    input:
        settings="results/{experiment}/settings/figures.json",
        train="results/{experiment}/images/train.zip",
        synthetics=of_generators("images", "zip"),
        fidelity=fidelity_files,
        summary="results/{experiment}/classification/summary.json",
        verdicts="results/{experiment}/classification/verdicts.json",
        roc="metrics/{experiment}.roc.csv",
        sweep="metrics/{experiment}.sweep.csv",
        history="metrics/{experiment}.training.csv",
        validation=validation,
        code=code("results/{experiment}/settings/figures.json"),
    output:
        out=[
            report(
                f"results/{{experiment}}/figures/{figure}.png",
                caption=f"../report/{figure}.rst",
                category="{experiment}",
                subcategory="Figures",
            )
            for figure in FIGURES
        ],
    log:
        "logs/{experiment}/figures.log",
    benchmark:
        "logs/{experiment}/figures.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("figures")


rule page:
    input:
        settings="results/{experiment}/settings/page.json",
        verdicts="results/{experiment}/classification/verdicts.json",
        validation=validation,
        split_report="results/{experiment}/images/split.json",
        summary="results/{experiment}/classification/summary.json",
        copies=of_generators("copies", "json"),
        copy_figures=of_generators("copies", "png"),
        settings_files=settings_files,
        tables=expand("results/{{experiment}}/tables/{table}.csv", table=TABLES),
        figures=expand("results/{{experiment}}/figures/{figure}.png", figure=FIGURES),
        sections=sections,
        section_files=section_files,
        code=code("results/{experiment}/settings/page.json"),
    output:
        out=report(
            "results/{experiment}/report.html",
            caption="../report/page.rst",
            category="{experiment}",
            subcategory="Report",
        ),
    log:
        "logs/{experiment}/page.log",
    benchmark:
        "logs/{experiment}/page.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("page")


for experiment in EXPERIMENTS:

    rule:
        name:
            f"experiment_{experiment}"
        input:
            f"results/{experiment}/report.html",
            f"results/{experiment}/images/raw.rejects.csv",
        localrule: True


rule settle:
    log:
        "logs/settle.log",
    localrule: True
    conda:
        ENVIRONMENT
    shell:
        # Snakemake counts the time of a benchmark file as that of its outputs.
        "synthmed settle results data metrics --named {NAMED} 2>&1 | tee {log} && find logs -name '*.benchmark.tsv' -exec touch {{}} +"
