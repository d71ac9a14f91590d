# Segmenters at several sizes, and one whose last network sees what they all draw. Each size is a comparison of its own:
# the network of that size alone is the reference.
for experiment in having("multi_scale"):
    entry = config["experiments"][experiment]
    folder = f"results/{experiment}/settings"
    several, seed = entry["multi_scale"], {"seed": entry["seed"]}
    alone = {**several["training"], **seed, "sets": [], "arm": None, "augment": True}
    declare("compose-scales", f"{folder}/compose_scales.json", {"folds": several["folds"], **seed})
    for scale, size in scales_of(experiment).items():
        for fold in ("", *folds_of(experiment)):
            # They draw side by side, so each has first weights and an order of its own.
            content = {**alone, "size": size, "arm": fold or None, "seed": seed_of(entry["seed"], scale, fold)}
            declare("train-segmenter", f"{folder}/train_scale.{scale}{fold and '.'}{fold}.json", content)
        for join in JOINS:
            content = {**alone, "size": size, "join": join}
            declare("train-multi-scale", f"{folder}/train_multi_scale.{scale}.{join}.json", content)
        scoring = {**several["scoring"], "sets": [], "arms": ["real", *JOINS]}
        declare("score-segmenters", f"{folder}/score_scale.{scale}.json", scoring)
        declare(
            "compare",
            f"{folder}/compare_scale.{scale}.json",
            {
                "classes": entry["classes"],
                "positive": None,
                **several["statistics"],
                **seed,
                "against": [["maps", "constant"]],
                "task": scale,
                "kind": "segmentation",
                "leaking": False,
                "title": f"Segmenters at {size[0]}×{size[1]} pixels",
                "outcome": several["outcome"],
            },
        )
    scoring = {key: value for key, value in several["scoring"].items() if key != "original_size"}
    names = {"segmenters": list(forms_of(experiment)), "maps": first_names(experiment)}
    level = {"level": entry["fidelity"]["metrics"]["level"]}
    declare("scale-forms", f"{folder}/scale_forms.json", {**scoring, **names, **level})
    sizes = {"sizes": list(scales_of(experiment).values()), "arms": list(JOINS), "folds": several["folds"]}
    declare("section-multi-scale", f"{folder}/section.multi_scale.json", sizes)


rule compose_scales:
    input:
        settings="results/{experiment}/settings/compose_scales.json",
        needs="results/{experiment}/images/needs.json",
        train="results/{experiment}/images/train.zip",
        code=code("results/{experiment}/settings/compose_scales.json"),
    output:
        out="results/{experiment}/multi_scale/folds.csv",
        description="results/{experiment}/multi_scale/arms.json",
    log:
        "logs/{experiment}/compose_scales.log",
    benchmark:
        "logs/{experiment}/compose_scales.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("compose-scales")


rule train_scale:
    input:
        settings="results/{experiment}/settings/train_scale.{scale}{fold}.json",
        train="results/{experiment}/images/train.zip",
        validation="results/{experiment}/images/validation.zip",
        arms=lambda w: f"results/{w.experiment}/multi_scale/folds.csv" if w.fold else [],
        synthetic=[],
        grid=[],
        code=code("results/{experiment}/settings/train_scale.{scale}{fold}.json"),
    output:
        segmenter="results/{experiment}/multi_scale/first/{scale}{fold}.pt",
        report="results/{experiment}/multi_scale/first/{scale}{fold}.report.json",
    log:
        "logs/{experiment}/train_scale.{scale}{fold}.log",
    benchmark:
        "logs/{experiment}/train_scale.{scale}{fold}.benchmark.tsv"
    wildcard_constraints:
        fold="(|[.]fold_[0-9]+)",
    conda:
        ENVIRONMENT
    threads: lambda w: threads_of(multi_scale(w.experiment)["training"])
    resources:
        gpu=lambda w: multi_scale(w.experiment)["training"]["processes"],
    shell:
        command("train-segmenter")


rule train_multi_scale:
    input:
        settings="results/{experiment}/settings/train_multi_scale.{scale}.{join}.json",
        train="results/{experiment}/images/train.zip",
        validation="results/{experiment}/images/validation.zip",
        first=lambda w: first_networks(w.experiment),
        folds=lambda w: f"results/{w.experiment}/multi_scale/folds.csv" if w.join == "out_of_fold" else [],
        of_folds=networks_of_folds,
        code=code("results/{experiment}/settings/train_multi_scale.{scale}.{join}.json"),
    output:
        segmenter="results/{experiment}/multi_scale/{scale}/{join}.pt",
        report="results/{experiment}/multi_scale/{scale}/{join}.report.json",
    log:
        "logs/{experiment}/train_multi_scale.{scale}.{join}.log",
    benchmark:
        "logs/{experiment}/train_multi_scale.{scale}.{join}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: threads_of(multi_scale(w.experiment)["training"])
    resources:
        gpu=lambda w: multi_scale(w.experiment)["training"]["processes"],
    shell:
        command("train-multi-scale")


rule score_scale:
    input:
        settings="results/{experiment}/settings/score_scale.{scale}.json",
        description="results/{experiment}/multi_scale/arms.json",
        segmenters=networks_of_scale("pt"),
        segmenter_reports=networks_of_scale("report.json"),
        test="results/{experiment}/images/test.zip",
        original=lambda w: (
            f"results/{w.experiment}/images/test_masks.zip"
            if multi_scale(w.experiment)["scoring"]["original_size"]
            else []
        ),
        synthetic=[],
        code=code("results/{experiment}/settings/score_scale.{scale}.json"),
    output:
        scores="results/{experiment}/multi_scale/{scale}/scores.csv",
        predictions="results/{experiment}/multi_scale/{scale}/predictions.zip",
        summary="results/{experiment}/multi_scale/{scale}/summary.json",
    log:
        "logs/{experiment}/score_scale.{scale}.log",
    benchmark:
        "logs/{experiment}/score_scale.{scale}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: multi_scale(w.experiment)["scoring"]["threads"]
    resources:
        gpu=1,
    shell:
        command("score-segmenters")


rule compare_scale:
    input:
        settings="results/{experiment}/settings/compare_scale.{scale}.json",
        scores="results/{experiment}/multi_scale/{scale}/scores.csv",
        summary="results/{experiment}/multi_scale/{scale}/summary.json",
        split_report="results/{experiment}/images/split.json",
        code=code("results/{experiment}/settings/compare_scale.{scale}.json"),
    output:
        out="results/{experiment}/multi_scale/{scale}/verdicts.json",
    log:
        "logs/{experiment}/compare_scale.{scale}.log",
    benchmark:
        "logs/{experiment}/compare_scale.{scale}.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("compare")


rule scale_forms:
    input:
        settings="results/{experiment}/settings/scale_forms.json",
        segmenters=lambda w: list(forms_of(w.experiment).values()),
        test="results/{experiment}/images/test.zip",
        code=code("results/{experiment}/settings/scale_forms.json"),
    output:
        out="results/{experiment}/multi_scale/forms.json",
        examples="results/{experiment}/multi_scale/examples.npz",
    log:
        "logs/{experiment}/scale_forms.log",
    benchmark:
        "logs/{experiment}/scale_forms.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: multi_scale(w.experiment)["scoring"]["threads"]
    resources:
        gpu=1,
    shell:
        command("scale-forms")


rule section_multi_scale:
    input:
        settings="results/{experiment}/settings/section.multi_scale.json",
        verdicts=of_scales("verdicts.json"),
        summaries=of_scales("summary.json"),
        forms="results/{experiment}/multi_scale/forms.json",
        examples="results/{experiment}/multi_scale/examples.npz",
        document=document,
        code=code("results/{experiment}/settings/section.multi_scale.json"),
    output:
        section="results/{experiment}/sections/multi_scale.json",
        out=exhibits("multi_scale"),
    log:
        "logs/{experiment}/section.multi_scale.log",
    benchmark:
        "logs/{experiment}/section.multi_scale.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-multi-scale")
