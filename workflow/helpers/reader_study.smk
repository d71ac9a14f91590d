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


def study_features(wildcards):
    """Features of the sets of which outliers are left out."""
    study = reader_study(wildcards.experiment)
    folder = f"results/{wildcards.experiment}/features/{study['extractor']}/plain"
    derived = derived_sets(wildcards.experiment)
    return [
        f"{folder}/{'derived' if name in derived else 'synthetic'}/{name}.npz" for name in study["study"]["screened"]
    ]


def study_real_features(wildcards):
    study = reader_study(wildcards.experiment)
    path = f"results/{wildcards.experiment}/features/{study['extractor']}/plain/train.npz"
    return path if study["study"]["screened"] else []


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
