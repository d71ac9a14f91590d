# Features of every image set, once; on them fidelity and copies.
for experiment in EXPERIMENTS:
    entry = config["experiments"][experiment]
    folder = f"results/{experiment}/settings"
    for name in pretrained(experiment):
        source = {
            "file": entry["weights"]["files"].get(name),
            "download": entry["weights"]["download"],
        }
        declare("fetch-weights", f"{folder}/weights.{name}.json", {"name": name, **source})
    for extractor, settings in entry["extractors"].items():
        shared = {
            **settings,
            "extractor": extractor,
            "seed": entry["seed"],
            "augmentation": entry["classic_augmentation"],
        }
        if draws := augmented_draws(experiment, extractor):
            content = {**shared, "view": "image", "draws": draws}
            declare("features", f"{folder}/features.{extractor}.augmented.json", content)
        metrics = {**entry["fidelity"]["metrics"], "seed": entry["seed"]}
        floor = {"counts": entry["fidelity"]["floor_counts"], "metrics": metrics}
        for suffix, view in views_of(experiment).items():
            content = {**shared, "view": view, "draws": 0}
            declare("features", f"{folder}/features.{extractor}{suffix}.plain.json", content)
            declare("fidelity-floor", f"{folder}/fidelity_floor.{extractor}{suffix}.json", floor)
            for name in compared_in(experiment, suffix):
                content = {"generator": name, "view": view, "metrics": metrics}
                declare("fidelity", f"{folder}/fidelity.{extractor}{suffix}.{name}.json", content)
    content = {**entry["fidelity"]["diversity"], "seed": entry["seed"]}
    declare("pair-distances", f"{folder}/pair_distances.json", content)
    intervals = {name: entry["fidelity"]["metrics"][name] for name in ("level", "resamples")}
    content = {**intervals, "generators": generators(experiment), "seed": entry["seed"]}
    declare("set-diversity", f"{folder}/set_diversity.json", content)
    for suffix, view in views_of(experiment).items():
        content = {**entry["domain_extractor"], "classes": entry["classes"], "view": view}
        declare("train-extractor", f"{folder}/train_extractor{suffix}.json", content)
    planted = {**entry["planted_copies"], "seed": entry["seed"]}
    declare("plant-copies", f"{folder}/plant_copies.json", planted)
    fitted = copies_extractor(experiment) == "domain"
    for name in generators(experiment):
        about = {"generator": name, "fitted_features": fitted, "seed": entry["seed"]}
        declare("copies", f"{folder}/copies.{name}.json", {**entry["copies"], **about})


rule fetch_weights:
    input:
        settings="results/{experiment}/settings/weights.{weights}.json",
    output:
        weights="results/{experiment}/extractors/{weights}.pt",
        origin="results/{experiment}/extractors/{weights}.json",
    log:
        "logs/{experiment}/weights.{weights}.log",
    benchmark:
        "logs/{experiment}/weights.{weights}.benchmark.tsv"
    wildcard_constraints:
        weights="(?!domain)[a-z0-9_]+",
    localrule: True
    conda:
        ENVIRONMENT
    shell:
        command("fetch-weights")


rule train_extractor:
    input:
        settings="results/{experiment}/settings/train_extractor{view}.json",
        train="results/{experiment}/images/train.zip",
        validation="results/{experiment}/images/validation.zip",
        code=code("results/{experiment}/settings/train_extractor{view}.json"),
    output:
        weights="results/{experiment}/extractors/domain{view}.pt",
    log:
        "logs/{experiment}/train_extractor{view}.log",
    benchmark:
        "logs/{experiment}/train_extractor{view}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: config["experiments"][w.experiment]["domain_extractor"]["threads"]
    shell:
        command("train-extractor")


rule features:
    input:
        settings="results/{experiment}/settings/features.{extractor}{view}.{variant}.json",
        images="results/{experiment}/images/{images}.zip",
        weights=extractor_weights,
        code=code("results/{experiment}/settings/features.{extractor}{view}.{variant}.json"),
    output:
        out="results/{experiment}/features/{extractor}{view}/{variant,plain|augmented}/{images}.npz",
    log:
        "logs/{experiment}/features.{extractor}{view}.{variant}/{images}.log",
    benchmark:
        "logs/{experiment}/features.{extractor}{view}.{variant}/{images}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: config["experiments"][w.experiment]["extractors"][w.extractor]["threads"]
    resources:
        gpu=1,
    shell:
        command("features")


rule fidelity_floor:
    input:
        settings="results/{experiment}/settings/fidelity_floor.{extractor}{view}.json",
        real="results/{experiment}/features/{extractor}{view}/plain/train.npz",
        held_out="results/{experiment}/features/{extractor}{view}/plain/test.npz",
        code=code("results/{experiment}/settings/fidelity_floor.{extractor}{view}.json"),
    output:
        out="results/{experiment}/fidelity/{extractor}{view}/floor.json",
    log:
        "logs/{experiment}/fidelity_floor.{extractor}{view}.log",
    benchmark:
        "logs/{experiment}/fidelity_floor.{extractor}{view}.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("fidelity-floor")


rule fidelity:
    input:
        settings="results/{experiment}/settings/fidelity.{extractor}{view}.{generator}.json",
        real="results/{experiment}/features/{extractor}{view}/plain/train.npz",
        fake="results/{experiment}/features/{extractor}{view}/plain/{folder}/{generator}.npz",
        floor="results/{experiment}/fidelity/{extractor}{view}/floor.json",
        code=code("results/{experiment}/settings/fidelity.{extractor}{view}.{generator}.json"),
    output:
        out="results/{experiment}/fidelity/{extractor}{view}/{folder,synthetic|masks}/{generator}.json",
    log:
        "logs/{experiment}/fidelity.{extractor}{view}.{folder}.{generator}.log",
    benchmark:
        "logs/{experiment}/fidelity.{extractor}{view}.{folder}.{generator}.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("fidelity")


rule pair_distances:
    input:
        settings="results/{experiment}/settings/pair_distances.json",
        images="results/{experiment}/images/{images}.zip",
        weights=pair_weights,
        code=code("results/{experiment}/settings/pair_distances.json"),
    output:
        out="results/{experiment}/set_diversity/{images}.json",
    log:
        "logs/{experiment}/pair_distances/{images}.log",
    benchmark:
        "logs/{experiment}/pair_distances/{images}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: config["experiments"][w.experiment]["fidelity"]["diversity"]["threads"]
    resources:
        gpu=1,
    shell:
        command("pair-distances")


rule set_diversity:
    input:
        settings="results/{experiment}/settings/set_diversity.json",
        real="results/{experiment}/set_diversity/train.json",
        held_out="results/{experiment}/set_diversity/test.json",
        synthetic=lambda w: synthetic(w.experiment, "set_diversity", "json"),
        code=code("results/{experiment}/settings/set_diversity.json"),
    output:
        out="results/{experiment}/set_diversity.json",
    log:
        "logs/{experiment}/set_diversity.log",
    benchmark:
        "logs/{experiment}/set_diversity.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("set-diversity")


rule plant_copies:
    input:
        settings="results/{experiment}/settings/plant_copies.json",
        train="results/{experiment}/images/train.zip",
        code=code("results/{experiment}/settings/plant_copies.json"),
    output:
        planted="results/{experiment}/images/planted.zip",
    log:
        "logs/{experiment}/plant_copies.log",
    benchmark:
        "logs/{experiment}/plant_copies.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("plant-copies")


rule copies:
    input:
        settings="results/{experiment}/settings/copies.{generator}.json",
        train="results/{experiment}/images/train.zip",
        held_out="results/{experiment}/images/test.zip",
        planted="results/{experiment}/images/planted.zip",
        fake="results/{experiment}/images/synthetic/{generator}.zip",
        train_features=copies_features("train"),
        held_out_features=copies_features("test"),
        planted_features=copies_features("planted"),
        fake_features=copies_features("synthetic/{generator}"),
        code=code("results/{experiment}/settings/copies.{generator}.json"),
    output:
        out="results/{experiment}/copies/synthetic/{generator}.json",
        pairs=closest_pairs("results/{experiment}/copies/synthetic/{generator}.png", "pairs", PAIRS),
    log:
        "logs/{experiment}/copies.{generator}.log",
    benchmark:
        "logs/{experiment}/copies.{generator}.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("copies")
