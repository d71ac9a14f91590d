from snakemake.utils import min_version

min_version("9.0")

# Snakemake formats paths, and would take them for names of wildcards.
if {"{", "}"} & {*workflow.basedir}:
    raise WorkflowError(
        f"{workflow.basedir}: a path with braces cannot be used; rename the folder, or move the checkout"
    )


include: "workflow/rules/params.smk"


check_files(workflow.basedir, workflow.configfiles)


configfile: f"{workflow.basedir}/params.yaml"


check_keys(config)
check_schema(config)


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"


check_all_names()
stand_in()


for topic in (
    "tasks",
    "data",
    "leaderboard",
    "report",
    "selection",
    "train",
    "evaluate",
    "masks",
    "classifiers",
    "disease_axes",
    "latent_editing",
    "states",
    "mask_diversity",
    "reader_study",
    "anomaly",
    "background",
    "multi_scale",
    "mask_channel",
    "mask_agreement",
    "costs",
):

    include: f"workflow/helpers/{topic}.smk"


for rules in (
    "tasks",
    "data",
    "leaderboard",
    "report",
    "selection",
    "train",
    "sample",
    "evaluate",
    "masks",
    "classifiers",
    "disease_axes",
    "latent_editing",
    "states",
    "mask_diversity",
    "reader_study",
    "anomaly",
    "background",
    "slides",
    "multi_scale",
    "mask_channel",
    "mask_agreement",
):

    include: f"workflow/rules/{rules}.smk"


write_settings()


rule all:
    default_target: True
    input:
        expand("results/{experiment}/report.html", experiment=EXPERIMENTS),
        expand("metrics/{experiment}.json", experiment=EXPERIMENTS),
        "results/leaderboard.csv",
    localrule: True


onsuccess:
    write_costs()
    write_index()
