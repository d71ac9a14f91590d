# Whether classifiers look at the frame: test images with a frame pasted on or taken off, at every training set of a task.
for experiment in having("shortcuts"):
    entry = config["experiments"][experiment]
    folder = f"results/{experiment}/settings"
    asked = entry["shortcuts"]
    task = entry["tasks"][asked["task"]]
    seed, classes = {"seed": entry["seed"]}, {"classes": entry["classes"], "positive": entry["positive"]}
    declare("change-images", f"{folder}/change_images.json", {**asked["frames"], **seed})
    sets = {"arms": arms_of(experiment, asked["task"]), "names": ["validation", "changed"]}
    declare("score-sets", f"{folder}/score_sets.json", {**task["model"]["scoring"], **classes, **sets})
    tagged = {"tagged": REAL_TEST if asked["measures"]["tags"] and tagged_images(experiment) else None}
    statistics = {name: task["statistics"][name] for name in ("threshold", "alpha")}
    declare(
        "measure-shortcuts",
        f"{folder}/measure_shortcuts.json",
        {**asked["measures"], **classes, **statistics, **tagged},
    )
    negative = next(name for name in entry["classes"] if name != entry["positive"])
    content = {"generators": sets_in_report(experiment), "negative": negative, "examples": entry["figures"]["examples"]}
    declare("section-shortcuts", f"{folder}/section.shortcuts.json", content)


rule change_images:
    input:
        settings="results/{experiment}/settings/change_images.json",
        images="results/{experiment}/images/test.zip",
        code=code("results/{experiment}/settings/change_images.json"),
    output:
        out="results/{experiment}/shortcuts/changed.zip",
        counts="results/{experiment}/shortcuts/changed.json",
    log:
        "logs/{experiment}/change_images.log",
    benchmark:
        "logs/{experiment}/change_images.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("change-images")


rule score_sets:
    input:
        settings="results/{experiment}/settings/score_sets.json",
        classifiers=of_shortcuts_arms,
        sets=["results/{experiment}/images/validation.zip", "results/{experiment}/shortcuts/changed.zip"],
        code=code("results/{experiment}/settings/score_sets.json"),
    output:
        scores="results/{experiment}/shortcuts/scores.csv",
    log:
        "logs/{experiment}/score_sets.log",
    benchmark:
        "logs/{experiment}/score_sets.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: shortcuts_task(w)["model"]["scoring"]["threads"]
    resources:
        gpu=1,
    shell:
        command("score-sets")


rule measure_shortcuts:
    input:
        settings="results/{experiment}/settings/measure_shortcuts.json",
        scores=of_shortcuts("scores.csv"),
        summary=of_shortcuts("summary.json"),
        further="results/{experiment}/shortcuts/scores.csv",
        test="results/{experiment}/images/test.zip",
        changed="results/{experiment}/shortcuts/changed.zip",
        tags=shortcut_tags,
        code=code("results/{experiment}/settings/measure_shortcuts.json"),
    output:
        out="results/{experiment}/shortcuts/results.json",
    log:
        "logs/{experiment}/measure_shortcuts.log",
    benchmark:
        "logs/{experiment}/measure_shortcuts.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("measure-shortcuts")


rule section_shortcuts:
    input:
        settings="results/{experiment}/settings/section.shortcuts.json",
        shortcuts="results/{experiment}/shortcuts/results.json",
        verdicts=of_shortcuts("verdicts.json"),
        test="results/{experiment}/images/test.zip",
        changed="results/{experiment}/shortcuts/changed.zip",
        counts="results/{experiment}/shortcuts/changed.json",
        document=document,
        code=code("results/{experiment}/settings/section.shortcuts.json"),
    output:
        section="results/{experiment}/sections/shortcuts.json",
        out=exhibits("shortcuts"),
    log:
        "logs/{experiment}/section.shortcuts.log",
    benchmark:
        "logs/{experiment}/section.shortcuts.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-shortcuts")
