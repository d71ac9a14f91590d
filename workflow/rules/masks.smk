# Masks that generators draw: their form beside real ones, and whether they are mixed with their images.
for experiment in EXPERIMENTS:
    entry = config["experiments"][experiment]
    folder = f"results/{experiment}/settings"
    drawing = drawing_masks(experiment)
    shared = {
        "examples": entry["figures"]["examples"],
        "level": entry["fidelity"]["metrics"]["level"],
        "seed": entry["seed"],
    }
    audit = {**entry["copies"], "images": entry["planted_copies"]["images"], "seed": entry["seed"]}
    for name in drawing:
        declare("mask-copies", f"{folder}/mask_copies.{name}.json", {**audit, "generator": name})
        training = entry["generators"].get(name, {}).get("training", {})
        compared = {**shared, "generator": name, "masks": training.get("masks")}
        declare("compare-masks", f"{folder}/compare_masks.{name}.json", compared)
    if drawing:
        titles = {name: {**entry["generators"], **mask_generators(experiment)}[name]["title"] for name in drawing}
        declare("section-mask-quality", f"{folder}/section.mask_quality.json", {"generators": titles})


rule compare_masks:
    input:
        settings="results/{experiment}/settings/compare_masks.{generator}.json",
        real="results/{experiment}/images/train.zip",
        held_out="results/{experiment}/images/test.zip",
        fake=lambda w: f"results/{w.experiment}/images/{drawing_masks(w.experiment)[w.generator]}/{w.generator}.zip",
        code=code("results/{experiment}/settings/compare_masks.{generator}.json"),
    output:
        out="results/{experiment}/masks/synthetic/{generator}.json",
    log:
        "logs/{experiment}/compare_masks.{generator}.log",
    benchmark:
        "logs/{experiment}/compare_masks.{generator}.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("compare-masks")


rule mask_copies:
    input:
        settings="results/{experiment}/settings/mask_copies.{generator}.json",
        train="results/{experiment}/images/train.zip",
        held_out="results/{experiment}/images/test.zip",
        fake=lambda w: f"results/{w.experiment}/images/{drawing_masks(w.experiment)[w.generator]}/{w.generator}.zip",
        code=code("results/{experiment}/settings/mask_copies.{generator}.json"),
    output:
        out="results/{experiment}/copies/masks/{generator}.json",
        pairs=closest_pairs("results/{experiment}/copies/masks/{generator}.masks.png", "mask_pairs", MASK_PAIRS),
    log:
        "logs/{experiment}/mask_copies.{generator}.log",
    benchmark:
        "logs/{experiment}/mask_copies.{generator}.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("mask-copies")


rule section_mask_quality:
    input:
        settings="results/{experiment}/settings/section.mask_quality.json",
        compared=of_drawing("masks", "json"),
        synthetics=of_drawing("images", "zip"),
        real="results/{experiment}/images/train.zip",
        document=document,
        code=code("results/{experiment}/settings/section.mask_quality.json"),
    output:
        section="results/{experiment}/sections/mask_quality.json",
        out=exhibits("mask_quality"),
    log:
        "logs/{experiment}/section.mask_quality.log",
    benchmark:
        "logs/{experiment}/section.mask_quality.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-mask-quality")
