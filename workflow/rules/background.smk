# What the background of the images tells: the classifier of a task, trained and tested on what lies outside of the masks.
for experiment in having("background"):
    entry = config["experiments"][experiment]
    folder = f"results/{experiment}/settings"
    probe = entry["background"]
    task = entry["tasks"][probe["task"]]
    classes = {"classes": entry["classes"], "positive": entry["positive"]}
    seed = {"seed": entry["seed"]}
    training = task["model"]["training"]
    for region in probe["regions"]:
        content = {"cover": probe["cover"], "grow": probe["grow"], "region": region}
        declare("mask-out", f"{folder}/mask_out.{region}.json", content)
    # Its arms, but for all that is added to the real images.
    nothing = {
        "class_weights": False,
        "augmented_draws": 0,
        "sweep": {},
        "oracle_sweep": [],
        "only_sweep": [],
        "sets": [],
        "added": [],
        "alone": [],
        "undersampled": [],
    }
    nothing |= dict.fromkeys(("added_share", "added_counts", "only_share", "swap", "oracle"))
    content = {**arm_settings(experiment, probe["task"]), **nothing}
    declare("compose-arms", f"{folder}/compose_background.json", content)
    declare(
        "classify",
        f"{folder}/classify_background.json",
        {**classes, "column": LABEL, **training, "sets": [], "leaking": False, **seed},
    )
    statistics = {name: task["statistics"][name] for name in ("alpha", "margin")}
    content = {**classes, **statistics, "regions": probe["regions"]}
    declare("compare-regions", f"{folder}/compare_regions.json", content)
    declare(
        "section-background",
        f"{folder}/section.background.json",
        {
            "regions": probe["regions"],
            "cover": probe["cover"],
            "organ": " and ".join(entry["prepare"]["masks"]["classes"]),
            "classes": entry["classes"],
            "examples": entry["figures"]["examples"],
            **seed,
        },
    )


rule mask_out:
    input:
        settings="results/{experiment}/settings/mask_out.{region}.json",
        images=expand("results/{{experiment}}/images/{part}.zip", part=PARTS),
        code=code("results/{experiment}/settings/mask_out.{region}.json"),
    output:
        out=expand("results/{{experiment}}/images/background/{{region}}/{part}.zip", part=PARTS),
    log:
        "logs/{experiment}/mask_out.{region}.log",
    benchmark:
        "logs/{experiment}/mask_out.{region}.benchmark.tsv"
    wildcard_constraints:
        region="outside|inside",
    conda:
        ENVIRONMENT
    shell:
        command("mask-out")


rule compose_background:
    input:
        settings="results/{experiment}/settings/compose_background.json",
        train="results/{experiment}/images/train.zip",
        synthetic=[],
        code=code("results/{experiment}/settings/compose_background.json"),
    output:
        out="results/{experiment}/background/arms.csv",
        description="results/{experiment}/background/arms.json",
    log:
        "logs/{experiment}/compose_background.log",
    benchmark:
        "logs/{experiment}/compose_background.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("compose-arms")


rule classify_region:
    input:
        settings="results/{experiment}/settings/classify_background.json",
        arms="results/{experiment}/background/arms.csv",
        description="results/{experiment}/background/arms.json",
        train=region_features("train"),
        validation=region_features("validation"),
        test=region_features("test"),
        synthetic=[],
        train_augmented=[],
        images=[],
        code=code("results/{experiment}/settings/classify_background.json"),
    output:
        scores="results/{experiment}/background/{region}/scores.csv",
        grid="results/{experiment}/background/{region}/grid.csv",
        summary="results/{experiment}/background/{region}/summary.json",
    log:
        "logs/{experiment}/classify_background.{region}.log",
    benchmark:
        "logs/{experiment}/classify_background.{region}.benchmark.tsv"
    wildcard_constraints:
        region="outside|inside",
    conda:
        ENVIRONMENT
    threads: lambda w: background_task(w.experiment)["model"]["training"]["threads"]
    shell:
        command("classify")


rule compare_regions:
    input:
        settings="results/{experiment}/settings/compare_regions.json",
        whole=lambda w: f"results/{w.experiment}/tasks/{background(w.experiment)['task']}/scores.csv",
        regions=of_regions("results/{experiment}/background/{region}/scores.csv"),
        test="results/{experiment}/images/test.zip",
        code=code("results/{experiment}/settings/compare_regions.json"),
    output:
        out="results/{experiment}/background/results.json",
    log:
        "logs/{experiment}/compare_regions.log",
    benchmark:
        "logs/{experiment}/compare_regions.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("compare-regions")


rule section_background:
    input:
        settings="results/{experiment}/settings/section.background.json",
        results="results/{experiment}/background/results.json",
        test="results/{experiment}/images/test.zip",
        regions=of_regions("results/{experiment}/images/background/{region}/test.zip"),
        code=code("results/{experiment}/settings/section.background.json"),
    output:
        section="results/{experiment}/sections/background.json",
        out=exhibits("background"),
    log:
        "logs/{experiment}/section.background.log",
    benchmark:
        "logs/{experiment}/section.background.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-background")
