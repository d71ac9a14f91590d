# Classifiers of which every weight is trained; with them the three steps: train on real images, label generated ones,
# train on these, and test both on the same real images.
for experiment in EXPERIMENTS:
    for name, settings in trained_classifiers(experiment).items():
        content = {**settings, "seed": config["experiments"][experiment]["seed"]}
        declare("train-classifier", f"results/{experiment}/settings/train_classifier.{name}.json", content)

for experiment in having("three_steps"):
    entry = config["experiments"][experiment]
    folder = f"results/{experiment}/settings"
    steps = entry["three_steps"]
    shared = {"classes": entry["classes"], "positive": entry["positive"], "seed": entry["seed"]}
    for name in pseudo_labelled(experiment):
        declare("pseudo-label", f"{folder}/pseudo_label.{name}.json", {**steps["pseudo_labels"], **shared})
    declare("three-steps", f"{folder}/three_steps.json", {**steps["comparison"], **shared})
    declare("grad-cam", f"{folder}/grad_cam.json", {**steps["grad_cam"], "positive": entry["positive"]})
    title = entry["generators"][steps["generator"]]["title"]
    declare(
        "section-three-steps",
        f"{folder}/section.three_steps.json",
        {"generator": title, "examples": entry["figures"]["examples"], "seed": entry["seed"]},
    )


rule train_classifier:
    input:
        settings="results/{experiment}/settings/train_classifier.{classifier}.json",
        train=classifier_images("train"),
        validation=classifier_images("validation"),
        weights=classifier_weights,
        code=code("results/{experiment}/settings/train_classifier.{classifier}.json"),
    output:
        classifier="results/{experiment}/classifiers/{classifier}.pt",
        report="results/{experiment}/classifiers/{classifier}.report.json",
    log:
        "logs/{experiment}/train_classifier.{classifier}.log",
    benchmark:
        "logs/{experiment}/train_classifier.{classifier}.benchmark.tsv"
    wildcard_constraints:
        classifier="[a-z0-9_]+",
    conda:
        ENVIRONMENT
    threads: lambda w: trained_classifiers(w.experiment)[w.classifier]["threads"]
    resources:
        gpu=1,
    shell:
        command("train-classifier")


rule predict:
    input:
        settings="results/{experiment}/settings/predict.{classifier}.json",
        classifier="results/{experiment}/classifiers/{classifier}.pt",
        images="results/{experiment}/images/raw.zip",
        code=code("results/{experiment}/settings/predict.{classifier}.json"),
    output:
        likelihoods="results/{experiment}/classifiers/{classifier}.likelihoods.csv",
    log:
        "logs/{experiment}/predict.{classifier}.log",
    benchmark:
        "logs/{experiment}/predict.{classifier}.benchmark.tsv"
    wildcard_constraints:
        classifier="[a-z0-9_]+",
    conda:
        ENVIRONMENT
    resources:
        gpu=1,
    shell:
        command("predict")


rule pseudo_label:
    input:
        settings="results/{experiment}/settings/pseudo_label.{generator}.json",
        unlabelled="results/{experiment}/images/unlabelled/{generator}.zip",
        classifier="results/{experiment}/classifiers/real.pt",
        train="results/{experiment}/images/train.zip",
        validation="results/{experiment}/images/validation.zip",
        test="results/{experiment}/images/test.zip",
        code=code("results/{experiment}/settings/pseudo_label.{generator}.json"),
    output:
        synthetic="results/{experiment}/images/synthetic/{generator}.zip",
        report="results/{experiment}/images/synthetic/{generator}.labels.json",
    log:
        "logs/{experiment}/pseudo_label.{generator}.log",
    benchmark:
        "logs/{experiment}/pseudo_label.{generator}.benchmark.tsv"
    wildcard_constraints:
        experiment=f"(?={PSEUDO_LABELLED})[a-z0-9_]+",
    conda:
        ENVIRONMENT
    resources:
        gpu=1,
    shell:
        command("pseudo-label")


rule three_steps:
    input:
        settings="results/{experiment}/settings/three_steps.json",
        real_classifier="results/{experiment}/classifiers/real.pt",
        synthetic_classifier="results/{experiment}/classifiers/synthetic.pt",
        test="results/{experiment}/images/test.zip",
        synthetic=three_steps_images,
        code=code("results/{experiment}/settings/three_steps.json"),
    output:
        predictions="results/{experiment}/three_steps/predictions.csv",
        summary="results/{experiment}/three_steps/summary.json",
    log:
        "logs/{experiment}/three_steps.log",
    benchmark:
        "logs/{experiment}/three_steps.benchmark.tsv"
    conda:
        ENVIRONMENT
    resources:
        gpu=1,
    shell:
        command("three-steps")


rule grad_cam:
    input:
        settings="results/{experiment}/settings/grad_cam.json",
        real_classifier="results/{experiment}/classifiers/real.pt",
        synthetic_classifier="results/{experiment}/classifiers/synthetic.pt",
        test="results/{experiment}/images/test.zip",
        predictions="results/{experiment}/three_steps/predictions.csv",
        summary="results/{experiment}/three_steps/summary.json",
        code=code("results/{experiment}/settings/grad_cam.json"),
    output:
        out="results/{experiment}/three_steps/cam.json",
        maps="results/{experiment}/three_steps/cam_maps.zip",
    log:
        "logs/{experiment}/grad_cam.log",
    benchmark:
        "logs/{experiment}/grad_cam.benchmark.tsv"
    conda:
        ENVIRONMENT
    resources:
        gpu=1,
    shell:
        command("grad-cam")


rule section_three_steps:
    input:
        settings="results/{experiment}/settings/section.three_steps.json",
        pseudo_labels=three_steps_labels,
        summary="results/{experiment}/three_steps/summary.json",
        cam="results/{experiment}/three_steps/cam.json",
        maps="results/{experiment}/three_steps/cam_maps.zip",
        test="results/{experiment}/images/test.zip",
        synthetic=three_steps_images,
        code=code("results/{experiment}/settings/section.three_steps.json"),
    output:
        section="results/{experiment}/sections/three_steps.json",
        out=SECTION_FILES["three_steps"],
    log:
        "logs/{experiment}/section.three_steps.log",
    benchmark:
        "logs/{experiment}/section.three_steps.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("section-three-steps")
