# Where does synthetic data begin or stop to help? A generator and segmenters from fewer real images, nested, tested on the
# same ones.
from math import ceil

for experiment in having("learning_curve"):
    entry, curve = config["experiments"][experiment], learning_curve(experiment)
    folder, seed = f"results/{experiment}/settings", {"seed": entry["seed"]}
    task = tasks_of(experiment)[curve["task"]]
    for size in curve["sizes"]:
        most = {**(entry["split"]["most"] or {}), "train": size}
        declare("split", f"{folder}/curve_split.{size}.json", {**entry["split"], "most": most})
        _, sampling = SETTINGS[f"{folder}/sample.{curve['generator']}.json"]
        # No more than are added, but for what is rounded.
        drawn = {label: ceil(size * curve["added_share"]) for label in entry["classes"]}
        declare("sample", f"{folder}/curve_sample.{size}.json", {**sampling, "samples": drawn})
    declare("compose-arms", f"{folder}/curve_arms.json", curve_arms(experiment))
    names = curve_arm_names(experiment)
    for arm in names:
        listed = {"arm": None if arm == "real" else arm, "augment": False, "sets": [curve["generator"]]}
        declare(
            "train-segmenter", f"{folder}/curve_segmenter.{arm}.json", {**task["model"]["training"], **seed, **listed}
        )
    scoring = {**task["model"]["scoring"], "sets": [curve["generator"]], "arms": names}
    declare("score-segmenters", f"{folder}/curve_scores.json", scoring)
    compared = {"task": "learning_curve", "kind": "segmentation", "leaking": False, "outcome": task["outcome"]}
    compared |= {
        "against": [],
        "classes": entry["classes"],
        "positive": None,
        "title": f"{task['title']} From fewer real images",
    }
    declare("compare", f"{folder}/curve_compare.json", {**task["statistics"], **seed, **compared})
    title = entry["generators"][curve["generator"]]["title"]
    content = {"sizes": curve["sizes"], "generator": curve["generator"], "title": title}
    declare("section-learning-curve", f"{folder}/section.learning_curve.json", content)


rule curve_split:
    input:
        settings="results/{experiment}/settings/curve_split.{size}.json",
        images=studied,
        code=code("results/{experiment}/settings/curve_split.{size}.json"),
    output:
        train="results/{experiment}/curve/{size}/train.zip",
        validation="results/{experiment}/curve/{size}/validation.zip",
        test="results/{experiment}/curve/{size}/test.zip",
        report="results/{experiment}/curve/{size}/split.json",
    log:
        "logs/{experiment}/curve_split.{size}.log",
    benchmark:
        "logs/{experiment}/curve_split.{size}.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("split")


rule curve_train:
    input:
        settings="results/{experiment}/settings/train.{generator}.{part}.json",
        images="results/{experiment}/curve/{size}/train.zip",
        initial=initial_checkpoint,
        perceptual_weights=lambda w: perceptual_weights(w.experiment, w.generator),
        code=code("results/{experiment}/settings/train.{generator}.{part}.json"),
    output:
        checkpoint="results/{experiment}/curve/{size}/{generator}.{part}.pt",
        history="results/{experiment}/curve/{size}/{generator}.{part}.history.csv",
        samples="results/{experiment}/curve/{size}/{generator}.{part}.samples.png",
        states="results/{experiment}/curve/{size}/{generator}.{part}.states.zip",
    log:
        "logs/{experiment}/curve_train.{size}.{generator}.{part}.log",
    benchmark:
        "logs/{experiment}/curve_train.{size}.{generator}.{part}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: threads_of(curve_generator(w)["training"])
    resources:
        gpu=lambda w: curve_generator(w)["training"]["processes"],
    shell:
        command("train")


# For the masks of the real images of this size, where the generator paints images for masks.
rule curve_sample:
    input:
        settings="results/{experiment}/settings/curve_sample.{size}.json",
        checkpoints=curve_checkpoints,
        images="results/{experiment}/curve/{size}/train.zip",
        code=code("results/{experiment}/settings/curve_sample.{size}.json"),
    output:
        synthetic="results/{experiment}/curve/{size}/synthetic.zip",
    log:
        "logs/{experiment}/curve_sample.{size}.log",
    benchmark:
        "logs/{experiment}/curve_sample.{size}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: curve_generator(w)["sampling"]["threads"]
    resources:
        gpu=1,
    shell:
        command("sample")


rule curve_arms:
    input:
        settings="results/{experiment}/settings/curve_arms.json",
        needs="results/{experiment}/images/needs.json",
        train="results/{experiment}/curve/{size}/train.zip",
        synthetic="results/{experiment}/curve/{size}/synthetic.zip",
        code=code("results/{experiment}/settings/curve_arms.json"),
    output:
        out="results/{experiment}/curve/{size}/arms.csv",
        description="results/{experiment}/curve/{size}/arms.json",
    log:
        "logs/{experiment}/curve_arms.{size}.log",
    benchmark:
        "logs/{experiment}/curve_arms.{size}.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("compose-arms")


rule curve_segmenter:
    input:
        settings="results/{experiment}/settings/curve_segmenter.{arm}.json",
        train="results/{experiment}/curve/{size}/train.zip",
        validation="results/{experiment}/images/validation.zip",
        arms=beyond_real("results/{experiment}/curve/{size}/arms.csv"),
        synthetic=beyond_real("results/{experiment}/curve/{size}/synthetic.zip"),
        grid=curve_grid,
        code=code("results/{experiment}/settings/curve_segmenter.{arm}.json"),
    output:
        segmenter="results/{experiment}/curve/{size}/models/{arm}.pt",
        report="results/{experiment}/curve/{size}/models/{arm}.report.json",
    log:
        "logs/{experiment}/curve_segmenter.{size}.{arm}.log",
    benchmark:
        "logs/{experiment}/curve_segmenter.{size}.{arm}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: threads_of(curve_segmenter(w)["training"])
    resources:
        gpu=lambda w: curve_segmenter(w)["training"]["processes"],
    shell:
        command("train-segmenter")


rule curve_scores:
    input:
        settings="results/{experiment}/settings/curve_scores.json",
        description="results/{experiment}/curve/{size}/arms.json",
        segmenters=curve_models("pt"),
        segmenter_reports=curve_models("report.json"),
        test="results/{experiment}/curve/{size}/test.zip",
        original=lambda w: (
            f"results/{w.experiment}/images/test_masks.zip" if curve_segmenter(w)["scoring"]["original_size"] else []
        ),
        synthetic="results/{experiment}/curve/{size}/synthetic.zip",
        code=code("results/{experiment}/settings/curve_scores.json"),
    output:
        scores="results/{experiment}/curve/{size}/scores.csv",
        predictions="results/{experiment}/curve/{size}/predictions.zip",
        summary="results/{experiment}/curve/{size}/summary.json",
    log:
        "logs/{experiment}/curve_scores.{size}.log",
    benchmark:
        "logs/{experiment}/curve_scores.{size}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: curve_segmenter(w)["scoring"]["threads"]
    resources:
        gpu=1,
    shell:
        command("score-segmenters")


rule curve_compare:
    input:
        settings="results/{experiment}/settings/curve_compare.json",
        scores="results/{experiment}/curve/{size}/scores.csv",
        summary="results/{experiment}/curve/{size}/summary.json",
        split_report="results/{experiment}/curve/{size}/split.json",
        code=code("results/{experiment}/settings/curve_compare.json"),
    output:
        out="results/{experiment}/curve/{size}/verdicts.json",
    log:
        "logs/{experiment}/curve_compare.{size}.log",
    benchmark:
        "logs/{experiment}/curve_compare.{size}.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("compare")


rule section_learning_curve:
    input:
        settings="results/{experiment}/settings/section.learning_curve.json",
        verdicts=of_curve("verdicts.json"),
        splits=of_curve("split.json"),
        code=code("results/{experiment}/settings/section.learning_curve.json"),
    output:
        section="results/{experiment}/sections/learning_curve.json",
        out=exhibits("learning_curve"),
    log:
        "logs/{experiment}/section.learning_curve.log",
    benchmark:
        "logs/{experiment}/section.learning_curve.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-learning-curve")
