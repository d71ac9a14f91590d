# Numbers for machines: what DVC and the figures read, and the leaderboard over all experiments.
for experiment in EXPERIMENTS:
    named = {name: named_in_report(name, one) for name, one in config["experiments"][experiment]["generators"].items()}
    declare(
        "metrics",
        f"results/{experiment}/settings/metrics.json",
        {
            "experiment": experiment,
            "generators": {name: one["title"] for name, one in named.items()},
            "trained_as": {name: named[one["of"]]["title"] for name, one in named.items()},
            "pseudo_labelled": pseudo_labelled(experiment),
            "trainings": [f"{name}, {part}" for name, part in all_trainings(experiment)],
        },
    )

declare("leaderboard", "results/settings/leaderboard.json", {"experiments": EXPERIMENTS})


rule metrics:
    input:
        settings="results/{experiment}/settings/metrics.json",
        fidelity=fidelity_files,
        copies=of_generators("copies", "json"),
        verdicts=of_tasks("verdicts.json"),
        scores=of_tasks("scores.csv"),
        histories=lambda w: [
            f"results/{w.experiment}/generators/{name}/{part}.history.csv"
            for name, part in all_trainings(w.experiment)
        ],
        code=code("results/{experiment}/settings/metrics.json"),
    output:
        metrics_json="metrics/{experiment}.json",
        effects="results/{experiment}/tables/effects.csv",
        sweep="metrics/{experiment}.sweep.csv",
        roc="metrics/{experiment}.roc.csv",
        training_history="metrics/{experiment}.training.csv",
    log:
        "logs/{experiment}/metrics.log",
    benchmark:
        "logs/{experiment}/metrics.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("metrics")


rule leaderboard:
    input:
        settings="results/settings/leaderboard.json",
        effects=expand("results/{experiment}/tables/effects.csv", experiment=EXPERIMENTS),
        code=code("results/settings/leaderboard.json"),
    output:
        out="results/leaderboard.csv",
        predictors="results/predictors.csv",
    log:
        "logs/leaderboard.log",
    benchmark:
        "logs/leaderboard.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("leaderboard")
