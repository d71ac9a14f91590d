from snakemake.utils import min_version, validate

min_version("9.0")


configfile: f"{workflow.basedir}/params.yaml"


# An overlay leaves an experiment out by setting it to null.
config["experiments"] = {name: entry for name, entry in config["experiments"].items() if entry is not None}


validate(config, "workflow/schemas/params.schema.yaml")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"


stand_in()


for rules in ("data", "selection", "train", "sample", "evaluate", "three_steps", "disease_axes", "anomaly", "summary"):

    include: f"workflow/rules/{rules}.smk"


write_settings()


rule all:
    default_target: True
    input:
        expand("results/{experiment}/report.html", experiment=EXPERIMENTS),
        expand("metrics/{experiment}.json", experiment=EXPERIMENTS),
        "results/leaderboard.csv",
    localrule: True
