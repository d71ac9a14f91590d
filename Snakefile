import sys

from snakemake.utils import min_version

min_version("9.27")
sys.path.insert(0, f"{workflow.basedir}/src")

# Snakemake formats paths, and would take them for names of wildcards.
if {"{", "}"} & {*workflow.basedir}:
    raise WorkflowError(
        f"{workflow.basedir}: a path with braces cannot be used; rename the folder, or move the checkout"
    )


include: "workflow/helpers/params.smk"


check_files(workflow.basedir, workflow.configfiles)


configfile: f"{workflow.basedir}/params.yaml"


check_keys(config)
check_schema(config)


report: "workflow/report/workflow.rst"


include: "workflow/helpers/settings.smk"
include: "workflow/helpers/common.smk"


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
    "learning_curve",
    "shortcuts",
    "reidentification",
    "artefacts",
    "other_images",
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
    "learning_curve",
    "shortcuts",
    "reidentification",
    "artefacts",
    "other_images",
):

    include: f"workflow/rules/{rules}.smk"


write_settings()

for one in workflow.rules:
    if one.output:
        one.set_input(remade=remade(one))


rule all:
    default_target: True
    input:
        expand("results/{experiment}/report.html", experiment=EXPERIMENTS),
        expand("metrics/{experiment}.json", experiment=EXPERIMENTS),
        "results/leaderboard.csv",
    localrule: True


# One experiment after the other, as params.yaml has them; later ones fill what is free.
for one in workflow.rules:
    one.priority = one.priority or urgency


onstart:
    # With its limit of jobs a second, Snakemake looks at all that is ready once a second, and once more a second for each
    # job that has ended: after 300 jobs that took half a core. On one machine there is nothing to limit.
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None


onsuccess:
    write_costs()
    write_index()
