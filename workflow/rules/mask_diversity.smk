# How different the images are that a generator paints for one mask.
for experiment in having("mask_diversity"):
    entry = config["experiments"][experiment]
    folder = f"results/{experiment}/settings"
    options = {key: value for key, value in entry["mask_diversity"].items() if key != "generators"}
    for name in diverse_generators(experiment):
        declare(
            "mask-diversity",
            f"{folder}/mask_diversity.{name}.json",
            {**options, "generator": name, "seed": entry["seed"]},
        )
    titles = {name: named_in_report(name, entry["generators"][name]) for name in diverse_generators(experiment)}
    declare("section-mask-diversity", f"{folder}/section.mask_diversity.json", {"generators": titles})


rule mask_diversity:
    input:
        settings="results/{experiment}/settings/mask_diversity.{generator}.json",
        checkpoint=diversity_checkpoint,
        images=diversity_images,
        weights=diversity_weights,
        code=code("results/{experiment}/settings/mask_diversity.{generator}.json"),
    output:
        out="results/{experiment}/diversity/{generator}.json",
        pictures="results/{experiment}/diversity/{generator}.npz",
    log:
        "logs/{experiment}/mask_diversity.{generator}.log",
    benchmark:
        "logs/{experiment}/mask_diversity.{generator}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: config["experiments"][w.experiment]["mask_diversity"]["threads"]
    resources:
        gpu=1,
    shell:
        command("mask-diversity")


rule section_mask_diversity:
    input:
        settings="results/{experiment}/settings/section.mask_diversity.json",
        diversity=diversity_files("json"),
        pictures=diversity_files("npz"),
        document=document,
        code=code("results/{experiment}/settings/section.mask_diversity.json"),
    output:
        section="results/{experiment}/sections/mask_diversity.json",
        out=exhibits("mask_diversity"),
    log:
        "logs/{experiment}/section.mask_diversity.log",
    benchmark:
        "logs/{experiment}/section.mask_diversity.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-mask-diversity")
