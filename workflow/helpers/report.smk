# What the rules of workflow/rules/report.smk ask.
from snakemake.iocontainers import Wildcards

from synthmed.report.sections import ORDER, statement
from synthmed.report.sections.sharing import MASK_PAIRS, PAIRS

REFERENCES = f"{workflow.basedir}/src/synthmed/report/references"
CAPTIONS = ".snakemake/captions"


def named_in_report(name, generator):
    """How a generator is named in tables and figures, and what was trained for its images."""
    return {
        "model": generator["model"],
        "title": generator["title"],
        "receptive_field": generator.get("receptive_field"),
        "of": generator.get("trained_as", name),
    }


def sets_in_report(experiment):
    """All that arms can be made of, and how it is named."""
    entry = config["experiments"][experiment]
    named = {name: named_in_report(name, one) for name, one in entry["generators"].items()}
    for name, one in derived_sets(experiment).items():
        changed = one["generator"] if one["kind"] == "filtered" else entry["latent_editing"]["generator"]
        made = {"model": one["kind"], "title": one["title"], "trained_as": named[changed]["of"]}
        named[name] = named_in_report(name, made)
    return named


def exhibits(key):
    """Outputs of the section `key`: its tables and figures, marked for Snakemake's report with their caption."""
    section = statement(key)
    instance = f"{key}.{{task}}" if section.each_task else key
    return [marked(path, key, entry) for path, entry in zip(section.files(instance), section.exhibits)]


def marked(path, key, entry):
    # Snakemake wants a file with the caption before it knows the output; the section's JSON has it, in the rule's params.
    name = f"{key}.{entry.name}"
    caption = os.path.abspath(f"{CAPTIONS}/{name}.rst")
    FILES[caption] = f"{{{{ snakemake.params.captions.get('{name}', '') }}}}\n"
    return report(
        f"results/{{experiment}}/{path}",
        caption=caption,
        category="{experiment}",
        subcategory="Tables" if entry.folder == "tables" else "Figures",
    )


def closest_pairs(path, name, words):
    """The picture that the copy audit of a generator draws, marked for Snakemake's report; words: its caption."""
    caption = os.path.abspath(f"{CAPTIONS}/sharing.{name}.rst")
    FILES[caption] = f"{{% set generator = snakemake.wildcards.generator %}}{words}\n"
    return report(path, caption=caption, category="{experiment}", subcategory="Figures")


def captions(wildcards, output):
    """Captions of a section that was written, by `<key>.<exhibit>`."""
    path = Path(output.section)
    key = path.stem.partition(".")[0]
    found = read_json(path)["exhibits"] if path.is_file() else []
    return {f"{key}.{entry['name'].rpartition('.')[2]}": entry["caption"] for entry in found}


def document(wildcards):
    """The document whose numbers stand beside ours, or []."""
    name = config["experiments"][wildcards.experiment]["references"]
    return relative(f"{REFERENCES}/{name}.yaml") if name else []


def instances(experiment):
    """The sections of an experiment, in the order of the page; `<key>.<task>` where each task has one."""
    found = []
    for key in ORDER:
        if f"results/{experiment}/settings/section.{key}.json" in SETTINGS:
            found.append(key)
        elif statement(key).each_task:
            found += [
                f"{key}.{task}"
                for task in tasks_of(experiment)
                if f"results/{experiment}/settings/section.{key}.{task}.json" in SETTINGS
            ]
    return found


def section_files(wildcards):
    """Pictures of all sections, and those that the copy audit drew."""
    paths = []
    for instance in instances(wildcards.experiment):
        paths += [path for path in statement(instance.partition(".")[0]).files(instance) if path.endswith(".png")]
    return [
        *(f"results/{wildcards.experiment}/{path}" for path in paths),
        *synthetic(wildcards.experiment, "copies", "png"),
        *audits_of_masks("masks.png")(wildcards),
    ]


def training_settings(wildcards):
    folder = f"results/{wildcards.experiment}/settings"
    return [f"{folder}/train.{name}.{part}.json" for name, part in all_trainings(wildcards.experiment)]


def result_files(wildcards):
    """What the report rests on, with its hashes in the section on provenance: all that the other sections read."""
    read = {}
    for instance in instances(wildcards.experiment):
        key, _, task = instance.partition(".")
        if key != "provenance":
            of = Wildcards(fromdict={"experiment": wildcards.experiment, "task": task})
            files, *_ = workflow.get_rule(f"section_{key}").expand_input(of)
            for name, given in files.items():
                if name not in ("settings", "code"):
                    read |= dict.fromkeys([given] if isinstance(given, str) else given)
    return list(read)


def grid(wildcards):
    kind = task_of(wildcards)["model"]["kind"]
    if kind == "segmenter":
        return segmenter_grid(wildcards)
    return f"results/{wildcards.experiment}/tasks/{wildcards.task}/grid.csv" if kind == "head" else []


def first_task(experiment):
    """The task whose answer also says what holds for all: copies, phantoms."""
    return next(iter(tasks_of(experiment)))


def first_answer(path):
    """Input function: files that only the answer to the first task sums up."""
    return lambda w: path(w) if w.task == first_task(w.experiment) else []


def validated(experiment, task):
    return tasks_of(experiment)[task]["validation"] is not None


def validation(wildcards):
    path = f"results/{wildcards.experiment}/tasks/{wildcards.task}/validation.json"
    return path if validated(wildcards.experiment, wildcards.task) else []


def validations(wildcards):
    folder = f"results/{wildcards.experiment}/tasks"
    return [
        f"{folder}/{task}/validation.json"
        for task in tasks_of(wildcards.experiment)
        if validated(wildcards.experiment, task)
    ]


def domain_only(experiment):
    return list(config["experiments"][experiment]["extractors"]) == ["domain"]
