from snakemake.utils import min_version, validate

min_version("9.0")


configfile: f"{workflow.basedir}/params.yaml"


validate(config, "workflow/schemas/params.schema.yaml")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"


stand_in()


include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/sample.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/summary.smk"


write_settings()


rule all:
    default_target: True
    input:
        expand("results/{experiment}/report.html", experiment=EXPERIMENTS),
        expand("metrics/{experiment}.json", experiment=EXPERIMENTS),
        "results/leaderboard.csv",
    localrule: True
