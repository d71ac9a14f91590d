# Time and memory of the generators, from what each step left beside its log. No rules: the pages are no artefacts (nothing
# is made from them, and no two runs agree on them), so neither Snakemake nor DVC plans them; a run that went well writes them.
from synthmed.commands.run import INDEX
from synthmed.report import costs as cost_pages
from synthmed.report import index as index_page


def costs_of(experiment):
    """Where the steps of each generator leave what they took."""
    entry, logs = config["experiments"][experiment], f"logs/{experiment}"
    unlabelled = pseudo_labelled(experiment)
    return {
        "experiment": experiment,
        "generators": [
            {
                "title": entry["generators"][name]["title"],
                "networks": f"results/{experiment}/generators/{name}/networks.json",
                "trainings": [f"{logs}/train.{name}.{part}.log" for part in trainings(experiment, name)],
                "sampling": f"{logs}/{'sample_unlabelled' if name in unlabelled else 'sample'}.{name}.log",
                "samples": sum(entry["generators"][name]["sampling"]["samples"].values())
                * repeats_of(entry["generators"][name]),
            }
            for name in trained_here(experiment)
            if name in entry["generators"]
        ],
    }


# Now, so that a dry run sees what is wrong with it, and not the end of a long run.
COSTS = {
    experiment: parsed(cost_pages.CostsSettings, costs_of(experiment), f"costs of {experiment}")
    for experiment in EXPERIMENTS
}


def write_costs():
    """logs/<experiment>/costs.html, which the report shows, of each experiment whose networks are there; and that of all."""
    written = []
    for experiment, settings in COSTS.items():
        if all(os.path.exists(generator.networks) for generator in settings.generators):
            cost_pages.costs(settings, Path(f"logs/{experiment}/costs.html"))
            written.append(Path(f"logs/{experiment}/costs.csv"))
    cost_pages.all_costs(written, Path("logs/costs.html"))


def index_of():
    """What the page over all experiments shows."""
    return {
        "experiments": [
            {
                "name": name,
                "title": entry["title"],
                "question": entry["task"],
                "phantom": dataset_of(name)["provider"] == "phantom",
                "tasks": list(tasks_of(name)),
            }
            for name, entry in ((name, config["experiments"][name]) for name in EXPERIMENTS)
        ]
    }


def write_index():
    """results/index.html, of all experiments that have a report."""
    page = index_page.index(parsed(index_page.IndexSettings, index_of(), "index"), Path("results"), Path("logs"))
    print(f"{INDEX}{page}", file=sys.stderr)
