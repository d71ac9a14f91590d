# Tasks: which arms there are, the model under test trained on each, its scores on the same test images, the verdict.
for experiment in EXPERIMENTS:
    entry = config["experiments"][experiment]
    folder = f"results/{experiment}/settings"
    for task, settings in tasks_of(experiment).items():
        model, asked = settings["model"], target_of(experiment, task)
        classes = {name: asked[name] for name in ("classes", "positive")}
        sets = {"sets": task_sets(experiment, task)}
        seed, leaks = {"seed": entry["seed"]}, {"leaking": leaking(experiment, task)}
        declare("compose-arms", f"{folder}/compose_arms.{task}.json", arm_settings(experiment, task))
        if model["kind"] == "head":
            declare(
                "classify", f"{folder}/classify.{task}.json", {**asked, **model["training"], **sets, **leaks, **seed}
            )
        elif model["kind"] == "segmenter":
            arms = arms_of(experiment, task)
            for arm in arms:
                listed = {"arm": None if arm in ("real", "on_the_fly") else arm, "augment": arm == "on_the_fly"}
                content = {**model["training"], **seed, **sets, **listed}
                declare("train-segmenter", f"{folder}/train_segmenter.{task}.{arm}.json", content)
                judged = sets["sets"] if arm == "real" else []
                content = {**model["scoring"], "sets": judged, "arms": [arm]}
                declare("score-segmenters", f"{folder}/score_segmenters.{task}.{arm}.json", content)
            if chosen_by_grid(experiment, task):
                content = {**model["training"], **seed, **sets, "arm": None, "augment": False}
                declare("choose-segmenter", f"{folder}/choose_segmenter.{task}.json", content)
            declare("join-scores", f"{folder}/join_scores.{task}.json", {"arms": arms})
        else:
            arms, drawn = arms_of(experiment, task), augmented_arms(experiment, task)
            for arm in arms:
                augmented = entry["classic_augmentation"] if arm in drawn else None
                listed = {"arm": None if arm == "real" else arm, "augmentation": augmented}
                content = {**model["training"], **seed, **sets, **listed}
                declare("train-classifier", f"{folder}/train_arm.{task}.{arm}.json", content)
            content = {**classes, **model["scoring"], **sets, "arms": arms}
            declare("score-networks", f"{folder}/score_networks.{task}.json", content)
        declare(
            "compare",
            f"{folder}/compare.{task}.json",
            {
                **classes,
                **settings["statistics"],
                **leaks,
                **seed,
                "against": [
                    [f"{UNDERSAMPLED}_{name}", UNDERSAMPLED]
                    for name in task_generators(experiment, task, "undersampled")
                ],
                "task": task,
                "kind": settings["kind"],
                "title": settings["title"],
                "outcome": settings["outcome"],
            },
        )
        if settings["validation"] is not None:
            statistics = {name: settings["statistics"][name] for name in ("alpha", "margin")}
            content = {"classes": entry["classes"], **settings["validation"], **statistics, **seed}
            if settings["kind"] == "segmentation":
                declare("validate-segmentation", f"{folder}/validate_segmentation.{task}.json", content)
            else:
                content["positive"] = entry["positive"]
                declare("validate-verdict", f"{folder}/validate_verdict.{task}.json", content)


rule compose_arms:
    input:
        settings="results/{experiment}/settings/compose_arms.{task}.json",
        needs="results/{experiment}/images/needs.json",
        train="results/{experiment}/images/train.zip",
        synthetic=task_images,
        code=code("results/{experiment}/settings/compose_arms.{task}.json"),
    output:
        out="results/{experiment}/tasks/{task}/arms.csv",
        description="results/{experiment}/tasks/{task}/arms.json",
    log:
        "logs/{experiment}/compose_arms.{task}.log",
    benchmark:
        "logs/{experiment}/compose_arms.{task}.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("compose-arms")


rule classify:
    input:
        settings="results/{experiment}/settings/classify.{task}.json",
        arms="results/{experiment}/tasks/{task}/arms.csv",
        description="results/{experiment}/tasks/{task}/arms.json",
        train=task_features("train"),
        validation=task_features("validation"),
        test=lambda w: task_features(task_test(w))(w),
        synthetic=task_synthetic_features,
        train_augmented=augmented_features,
        images=target_images,
        code=code("results/{experiment}/settings/classify.{task}.json"),
    output:
        scores="results/{experiment}/tasks/{task}/scores.csv",
        grid="results/{experiment}/tasks/{task}/grid.csv",
        summary="results/{experiment}/tasks/{task}/summary.json",
    log:
        "logs/{experiment}/classify.{task}.log",
    benchmark:
        "logs/{experiment}/classify.{task}.benchmark.tsv"
    wildcard_constraints:
        experiment=of_model("head"),
    conda:
        ENVIRONMENT
    threads: lambda w: task_of(w)["model"]["training"]["threads"]
    shell:
        command("classify")


rule choose_segmenter:
    input:
        settings="results/{experiment}/settings/choose_segmenter.{task}.json",
        train="results/{experiment}/images/train.zip",
        validation="results/{experiment}/images/validation.zip",
        code=code("results/{experiment}/settings/choose_segmenter.{task}.json"),
    output:
        grid="results/{experiment}/tasks/{task}/grid.csv",
    log:
        "logs/{experiment}/choose_segmenter.{task}.log",
    benchmark:
        "logs/{experiment}/choose_segmenter.{task}.benchmark.tsv"
    wildcard_constraints:
        experiment=of_model("segmenter"),
    conda:
        ENVIRONMENT
    threads: lambda w: threads_of(task_of(w)["model"]["training"])
    resources:
        gpu=lambda w: task_of(w)["model"]["training"]["processes"],
    shell:
        command("choose-segmenter")


rule train_segmenter:
    input:
        settings="results/{experiment}/settings/train_segmenter.{task}.{arm}.json",
        train="results/{experiment}/images/train.zip",
        validation="results/{experiment}/images/validation.zip",
        arms=beyond_real("results/{experiment}/tasks/{task}/arms.csv"),
        synthetic=beyond_real(task_images),
        grid=segmenter_grid,
        code=code("results/{experiment}/settings/train_segmenter.{task}.{arm}.json"),
    output:
        segmenter="results/{experiment}/tasks/{task}/models/{arm}.pt",
        report="results/{experiment}/tasks/{task}/models/{arm}.report.json",
    log:
        "logs/{experiment}/train_segmenter.{task}.{arm}.log",
    benchmark:
        "logs/{experiment}/train_segmenter.{task}.{arm}.benchmark.tsv"
    wildcard_constraints:
        experiment=of_model("segmenter"),
    conda:
        ENVIRONMENT
    threads: lambda w: threads_of(task_of(w)["model"]["training"])
    resources:
        gpu=lambda w: task_of(w)["model"]["training"]["processes"],
    shell:
        command("train-segmenter")


rule score_segmenters:
    input:
        settings="results/{experiment}/settings/score_segmenters.{task}.{arm}.json",
        description="results/{experiment}/tasks/{task}/arms.json",
        segmenters="results/{experiment}/tasks/{task}/models/{arm}.pt",
        segmenter_reports="results/{experiment}/tasks/{task}/models/{arm}.report.json",
        test="results/{experiment}/images/test.zip",
        original=scored_masks,
        synthetic=lambda w: task_images(w) if w.arm == "real" else [],
        code=code("results/{experiment}/settings/score_segmenters.{task}.{arm}.json"),
    output:
        scores="results/{experiment}/tasks/{task}/scores/{arm}.csv",
        predictions="results/{experiment}/tasks/{task}/scores/{arm}.zip",
        summary="results/{experiment}/tasks/{task}/scores/{arm}.json",
    log:
        "logs/{experiment}/score_segmenters.{task}.{arm}.log",
    benchmark:
        "logs/{experiment}/score_segmenters.{task}.{arm}.benchmark.tsv"
    wildcard_constraints:
        experiment=of_model("segmenter"),
    conda:
        ENVIRONMENT
    threads: lambda w: task_of(w)["model"]["scoring"]["threads"]
    resources:
        gpu=1,
    shell:
        command("score-segmenters")


rule join_scores:
    input:
        settings="results/{experiment}/settings/join_scores.{task}.json",
        parts=of_arms("scores/{arm}.csv"),
        drawn=of_arms("scores/{arm}.zip"),
        summaries=of_arms("scores/{arm}.json"),
        code=code("results/{experiment}/settings/join_scores.{task}.json"),
    output:
        scores="results/{experiment}/tasks/{task}/scores.csv",
        predictions="results/{experiment}/tasks/{task}/predictions.zip",
        summary="results/{experiment}/tasks/{task}/summary.json",
    log:
        "logs/{experiment}/join_scores.{task}.log",
    benchmark:
        "logs/{experiment}/join_scores.{task}.benchmark.tsv"
    wildcard_constraints:
        experiment=of_model("segmenter"),
    conda:
        ENVIRONMENT
    shell:
        command("join-scores")


rule train_arm:
    input:
        settings="results/{experiment}/settings/train_arm.{task}.{arm}.json",
        train="results/{experiment}/images/train.zip",
        validation="results/{experiment}/images/validation.zip",
        weights=arm_weights,
        arms=beyond_real("results/{experiment}/tasks/{task}/arms.csv"),
        synthetic=beyond_real(task_images),
        code=code("results/{experiment}/settings/train_arm.{task}.{arm}.json"),
    output:
        classifier="results/{experiment}/tasks/{task}/models/{arm}.pt",
        report="results/{experiment}/tasks/{task}/models/{arm}.report.json",
    log:
        "logs/{experiment}/train_arm.{task}.{arm}.log",
    benchmark:
        "logs/{experiment}/train_arm.{task}.{arm}.benchmark.tsv"
    wildcard_constraints:
        experiment=of_model("network"),
    conda:
        ENVIRONMENT
    threads: lambda w: threads_of(task_of(w)["model"]["training"])
    resources:
        gpu=lambda w: task_of(w)["model"]["training"]["processes"],
    shell:
        command("train-classifier")


rule score_networks:
    input:
        settings="results/{experiment}/settings/score_networks.{task}.json",
        arms="results/{experiment}/tasks/{task}/arms.csv",
        description="results/{experiment}/tasks/{task}/arms.json",
        classifiers=of_arms("models/{arm}.pt"),
        classifier_reports=of_arms("models/{arm}.report.json"),
        test=lambda w: f"results/{w.experiment}/images/{task_test(w)}.zip",
        synthetic=task_images,
        code=code("results/{experiment}/settings/score_networks.{task}.json"),
    output:
        scores="results/{experiment}/tasks/{task}/scores.csv",
        summary="results/{experiment}/tasks/{task}/summary.json",
    log:
        "logs/{experiment}/score_networks.{task}.log",
    benchmark:
        "logs/{experiment}/score_networks.{task}.benchmark.tsv"
    wildcard_constraints:
        experiment=of_model("network"),
    conda:
        ENVIRONMENT
    threads: lambda w: task_of(w)["model"]["scoring"]["threads"]
    resources:
        gpu=1,
    shell:
        command("score-networks")


rule compare:
    input:
        settings="results/{experiment}/settings/compare.{task}.json",
        scores="results/{experiment}/tasks/{task}/scores.csv",
        summary="results/{experiment}/tasks/{task}/summary.json",
        split_report="results/{experiment}/images/split.json",
        code=code("results/{experiment}/settings/compare.{task}.json"),
    output:
        out="results/{experiment}/tasks/{task}/verdicts.json",
    log:
        "logs/{experiment}/compare.{task}.log",
    benchmark:
        "logs/{experiment}/compare.{task}.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("compare")


rule validate_verdict:
    input:
        settings="results/{experiment}/settings/validate_verdict.{task}.json",
        pool=task_features("pool"),
        code=code("results/{experiment}/settings/validate_verdict.{task}.json"),
    output:
        out="results/{experiment}/tasks/{task}/validation.json",
    log:
        "logs/{experiment}/validate_verdict.{task}.log",
    benchmark:
        "logs/{experiment}/validate_verdict.{task}.benchmark.tsv"
    wildcard_constraints:
        experiment=of_model("head"),
    conda:
        ENVIRONMENT
    threads: lambda w: task_of(w)["validation"]["threads"]
    shell:
        command("validate-verdict")


rule validate_segmentation:
    input:
        settings="results/{experiment}/settings/validate_segmentation.{task}.json",
        pool="results/{experiment}/images/pool.zip",
        code=code("results/{experiment}/settings/validate_segmentation.{task}.json"),
    output:
        out="results/{experiment}/tasks/{task}/validation.json",
    log:
        "logs/{experiment}/validate_segmentation.{task}.log",
    benchmark:
        "logs/{experiment}/validate_segmentation.{task}.benchmark.tsv"
    wildcard_constraints:
        experiment=of_model("segmenter"),
    conda:
        ENVIRONMENT
    threads: lambda w: task_of(w)["validation"]["threads"]
    shell:
        command("validate-segmentation")
