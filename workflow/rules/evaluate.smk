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
    declare(
        "train-extractor",
        f"{folder}/train_extractor.json",
        {**entry["domain_extractor"], "classes": entry["classes"]},
    )
    for extractor, settings in entry["extractors"].items():
        shared = {
            **settings,
            "extractor": extractor,
            "seed": entry["seed"],
            "augmentation": entry["classic_augmentation"],
        }
        declare(
            "features",
            f"{folder}/features.{extractor}.plain.json",
            {**shared, "draws": 0},
        )
        if draws := augmented_draws(experiment, extractor):
            declare("features", f"{folder}/features.{extractor}.augmented.json", {**shared, "draws": draws})
        metrics = {**entry["fidelity"]["metrics"], "seed": entry["seed"]}
        floor = {"counts": entry["fidelity"]["floor_counts"], "metrics": metrics}
        declare("fidelity-floor", f"{folder}/fidelity_floor.{extractor}.json", floor)
        for name in generators(experiment):
            declare(
                "fidelity",
                f"{folder}/fidelity.{extractor}.{name}.json",
                {"generator": name, "metrics": metrics},
            )
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
    conda:
        ENVIRONMENT
    shell:
        command("fetch-weights")


rule train_extractor:
    input:
        settings="results/{experiment}/settings/train_extractor.json",
        train="results/{experiment}/images/train.zip",
        validation="results/{experiment}/images/validation.zip",
        code=code("results/{experiment}/settings/train_extractor.json"),
    output:
        weights="results/{experiment}/extractors/domain.pt",
    log:
        "logs/{experiment}/train_extractor.log",
    benchmark:
        "logs/{experiment}/train_extractor.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: config["experiments"][w.experiment]["domain_extractor"]["threads"]
    shell:
        command("train-extractor")


rule features:
    input:
        settings="results/{experiment}/settings/features.{extractor}.{variant}.json",
        images="results/{experiment}/images/{images}.zip",
        weights="results/{experiment}/extractors/{extractor}.pt",
        code=code("results/{experiment}/settings/features.{extractor}.{variant}.json"),
    output:
        out="results/{experiment}/features/{extractor}/{variant,plain|augmented}/{images}.npz",
    log:
        "logs/{experiment}/features.{extractor}.{variant}/{images}.log",
    benchmark:
        "logs/{experiment}/features.{extractor}.{variant}/{images}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: config["experiments"][w.experiment]["extractors"][w.extractor]["threads"]
    resources:
        gpu=1,
    shell:
        command("features")


rule fidelity_floor:
    input:
        settings="results/{experiment}/settings/fidelity_floor.{extractor}.json",
        real="results/{experiment}/features/{extractor}/plain/train.npz",
        held_out="results/{experiment}/features/{extractor}/plain/test.npz",
        code=code("results/{experiment}/settings/fidelity_floor.{extractor}.json"),
    output:
        out="results/{experiment}/fidelity/{extractor}/floor.json",
    log:
        "logs/{experiment}/fidelity_floor.{extractor}.log",
    benchmark:
        "logs/{experiment}/fidelity_floor.{extractor}.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("fidelity-floor")


rule fidelity:
    input:
        settings="results/{experiment}/settings/fidelity.{extractor}.{generator}.json",
        real="results/{experiment}/features/{extractor}/plain/train.npz",
        fake="results/{experiment}/features/{extractor}/plain/synthetic/{generator}.npz",
        floor="results/{experiment}/fidelity/{extractor}/floor.json",
        code=code("results/{experiment}/settings/fidelity.{extractor}.{generator}.json"),
    output:
        out="results/{experiment}/fidelity/{extractor}/synthetic/{generator}.json",
    log:
        "logs/{experiment}/fidelity.{extractor}.{generator}.log",
    benchmark:
        "logs/{experiment}/fidelity.{extractor}.{generator}.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("fidelity")


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
        pairs=closest_pairs("results/{experiment}/copies/synthetic/{generator}.png"),
    log:
        "logs/{experiment}/copies.{generator}.log",
    benchmark:
        "logs/{experiment}/copies.{generator}.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("copies")
