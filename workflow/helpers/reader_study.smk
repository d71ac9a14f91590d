# What the rules of workflow/rules/reader_study.smk ask.
from synthmed.readers.simulate import code_of_reader


def reader_study(experiment):
    return config["experiments"][experiment]["reader_study"]


def study_images(wildcards):
    """Image sets of a study in its order: `real` are the test images, others the samples of generators, and sets that
    are made of them."""
    folder = f"results/{wildcards.experiment}/images"
    places = {"real": "test", **{name: f"derived/{name}" for name in derived_sets(wildcards.experiment)}}
    names = reader_study(wildcards.experiment)["study"]["sets"]
    return [f"{folder}/{places.get(name, f'synthetic/{name}')}.zip" for name in names]


def screened_sets(wildcards):
    """Sets of which outliers are looked for."""
    return list(reader_study(wildcards.experiment)["study"]["screened"])


def embedded_images(wildcards):
    """Image set whose place among the others is looked at: that of a screened set, or the real training images."""
    folder, part = f"results/{wildcards.experiment}/images", wildcards.part
    kind = "" if part == "train" else "derived/" if part in derived_sets(wildcards.experiment) else "synthetic/"
    return f"{folder}/{kind}{part}.zip"


def study_embeddings(wildcards):
    folder = f"results/{wildcards.experiment}/readers/embedding"
    return [f"{folder}/{name}.npz" for name in screened_sets(wildcards)]


def study_real_embedding(wildcards):
    path = f"results/{wildcards.experiment}/readers/embedding/train.npz"
    return path if screened_sets(wildcards) else []


def tagged_in_study(experiment):
    """Set of a study -> its name in the table of tags; those that are tagged."""
    if experiment not in having("tags"):
        return {}
    named = {"real": REAL_TEST if tagged_images(experiment) else "test"}
    # Images of a filtered set keep their names.
    named |= {name: one.get("generator", name) for name, one in derived_sets(experiment).items()}
    names = {name: named.get(name, name) for name in reader_study(experiment)["study"]["sets"]}
    return {name: theirs for name, theirs in names.items() if theirs in ("test", *tagged_sets(experiment))}


def study_tags(wildcards):
    tagged = tagged_in_study(wildcards.experiment)
    return f"results/{wildcards.experiment}/artefacts/tags.csv" if tagged else []


def simulated_readers(experiment):
    """Names of simulated readers; none where people answer."""
    answers = reader_study(experiment)["answers"]
    return list(answers["readers"]) if answers["kind"] == "simulated" else []


def returned_answers(wildcards):
    """Files of answers: of the simulated readers, or those that people sent back."""
    simulated = simulated_readers(wildcards.experiment)
    if not simulated:
        return [str(user_path(path)) for path in reader_study(wildcards.experiment)["answers"]["files"]]
    codes = [code_of_reader(number) for number, _ in enumerate(simulated, 1)]
    return [f"results/{wildcards.experiment}/readers/simulated/{code}.json" for code in codes]
