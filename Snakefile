from snakemake.utils import min_version, validate

from synthmed.core.settings import explain

min_version("9.0")


configfile: f"{workflow.basedir}/params.yaml"


# An overlay leaves an experiment out by setting it to null.
config["experiments"] = {name: entry for name, entry in config["experiments"].items() if entry is not None}


try:
    validate(config, "workflow/schemas/params.schema.yaml")
except WorkflowError as error:
    if error.__context__ is None:
        raise
    raise WorkflowError(f"settings: {explain(error.__context__)}") from None


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"


check_all_names()
stand_in()


for rules in (
    "tasks",
    "data",
    "selection",
    "train",
    "sample",
    "evaluate",
    "classifiers",
    "disease_axes",
    "anomaly",
    "leaderboard",
    "summary",
):

    include: f"workflow/rules/{rules}.smk"


write_settings()


rule all:
    default_target: True
    input:
        expand("metrics/{experiment}.json", experiment=EXPERIMENTS),
        "results/leaderboard.csv",
    localrule: True
