# Diagnosis with the predicted mask as a further channel: another data set, whose images the segmenters of `multi_scale`
# draw on; classifiers of images alone, with the mask, and with masks that tell nothing.
for experiment in having("mask_channel"):
    entry, channel = config["experiments"][experiment], mask_channel(experiment)
    folder, seed = f"results/{experiment}/settings", {"seed": entry["seed"]}
    for variant, (_title, what, _whose) in VARIANTS.items():
        if what is not None:
            content = {"source": what, **channel["scoring"], **seed}
            declare("mask-channel", f"{folder}/mask_channel.{variant}.json", content)
        content = {**channel["training"], **seed, "arm": None, "sets": [], "augmentation": None}
        declare("train-classifier", f"{folder}/train_variant.{variant}.json", content)
    classes = {"classes": channel["training"]["targets"]}
    titles = {variant: title for variant, (title, _what, _whose) in VARIANTS.items()}
    content = {**classes, **channel["scoring"], "arms": titles, "with_masks": "soft"}
    content |= {"second_test": channel["second_test"]}
    declare("score-variants", f"{folder}/score_variants.json", content)
    declare(
        "compare",
        f"{folder}/compare_variants.json",
        {
            **classes,
            "positive": channel["positive"],
            **channel["statistics"],
            **seed,
            "against": [["soft", "other"], ["soft", "ones"]],
            "task": "mask_channel",
            "kind": "classification",
            "leaking": False,
            "title": "Does the predicted mask help the diagnosis?",
            "outcome": channel["outcome"],
        },
    )
    content = {"examples": channel["examples"], "variants": [name for name in VARIANTS if name != "real"]}
    declare("section-mask-channel", f"{folder}/section.mask_channel.json", content)


rule mask_channel:
    input:
        settings="results/{experiment}/settings/mask_channel.{variant}.json",
        images="results/{experiment}/images/diagnosed/{part}.zip",
        segmenter=drawing_segmenter,
        code=code("results/{experiment}/settings/mask_channel.{variant}.json"),
    output:
        out="results/{experiment}/images/diagnosed/{variant}/{part}.zip",
    log:
        "logs/{experiment}/mask_channel.{variant}.{part}.log",
    benchmark:
        "logs/{experiment}/mask_channel.{variant}.{part}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: mask_channel(w.experiment)["scoring"]["threads"]
    resources:
        gpu=1,
    shell:
        command("mask-channel")


rule train_variant:
    input:
        settings="results/{experiment}/settings/train_variant.{variant}.json",
        train=lambda w: variant_images(w.experiment, w.variant, "train"),
        validation=lambda w: variant_images(w.experiment, w.variant, "validation"),
        weights=variant_weights,
        arms=[],
        synthetic=[],
        code=code("results/{experiment}/settings/train_variant.{variant}.json"),
    output:
        classifier="results/{experiment}/mask_channel/{variant}.pt",
        report="results/{experiment}/mask_channel/{variant}.report.json",
    log:
        "logs/{experiment}/train_variant.{variant}.log",
    benchmark:
        "logs/{experiment}/train_variant.{variant}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: threads_of(mask_channel(w.experiment)["training"])
    resources:
        gpu=lambda w: mask_channel(w.experiment)["training"]["processes"],
    shell:
        command("train-classifier")


rule score_variants:
    input:
        settings="results/{experiment}/settings/score_variants.json",
        classifiers=of_variants("results/{experiment}/mask_channel/{variant}.pt"),
        classifier_reports=of_variants("results/{experiment}/mask_channel/{variant}.report.json"),
        tests=lambda w: [variant_images(w.experiment, variant, "test") for variant in VARIANTS],
        truth="results/{experiment}/images/test.zip",
        code=code("results/{experiment}/settings/score_variants.json"),
    output:
        scores="results/{experiment}/mask_channel/scores.csv",
        summary="results/{experiment}/mask_channel/summary.json",
    log:
        "logs/{experiment}/score_variants.log",
    benchmark:
        "logs/{experiment}/score_variants.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: mask_channel(w.experiment)["scoring"]["threads"]
    resources:
        gpu=1,
    shell:
        command("score-variants")


rule compare_variants:
    input:
        settings="results/{experiment}/settings/compare_variants.json",
        scores="results/{experiment}/mask_channel/scores.csv",
        summary="results/{experiment}/mask_channel/summary.json",
        split_report="results/{experiment}/images/diagnosed/split.json",
        code=code("results/{experiment}/settings/compare_variants.json"),
    output:
        out="results/{experiment}/mask_channel/verdicts.json",
    log:
        "logs/{experiment}/compare_variants.log",
    benchmark:
        "logs/{experiment}/compare_variants.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("compare")


rule section_mask_channel:
    input:
        settings="results/{experiment}/settings/section.mask_channel.json",
        verdicts="results/{experiment}/mask_channel/verdicts.json",
        summary="results/{experiment}/mask_channel/summary.json",
        unseen="results/{experiment}/images/diagnosed/unseen.json",
        test="results/{experiment}/images/diagnosed/unseen.zip",
        variants=lambda w: [variant_images(w.experiment, name, "test") for name in VARIANTS if name != "real"],
        document=document,
        code=code("results/{experiment}/settings/section.mask_channel.json"),
    output:
        section="results/{experiment}/sections/mask_channel.json",
        out=exhibits("mask_channel"),
    log:
        "logs/{experiment}/section.mask_channel.log",
    benchmark:
        "logs/{experiment}/section.mask_channel.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-mask-channel")
