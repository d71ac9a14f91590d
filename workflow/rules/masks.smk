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
    for name in drawing:
        declare("compare-masks", f"{folder}/compare_masks.{name}.json", {**shared, "generator": name})
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
