# Classifiers that serve a method (exclusions, axes, anomaly detection), and what the networks of a task are used for
# besides its scores: labels for generated images, and maps of what they look at.
for experiment in EXPERIMENTS:
    for name, settings in trained_classifiers(experiment).items():
        content = {
            **settings,
            "seed": config["experiments"][experiment]["seed"],
            "arm": None,
            "sets": [],
            "augmentation": None,
        }
        declare("train-classifier", f"results/{experiment}/settings/train_classifier.{name}.json", content)

for experiment in having("pseudo_labels"):
    entry = config["experiments"][experiment]
    shared = {"classes": entry["classes"], "positive": entry["positive"], "seed": entry["seed"]}
    content = {key: value for key, value in entry["pseudo_labels"].items() if key != "task"}
    for name in pseudo_labelled(experiment):
        declare("pseudo-label", f"results/{experiment}/settings/pseudo_label.{name}.json", {**content, **shared})

for experiment in having("grad_cam"):
    entry = config["experiments"][experiment]
    folder = f"results/{experiment}/settings"
    content = {key: value for key, value in entry["grad_cam"].items() if key != "task"}
    swap = swapped(experiment)
    names = {"positive": entry["positive"], "arms": ["real", swap], "classes": entry["classes"]}
    declare("grad-cam", f"{folder}/grad_cam.json", {**content, **names})
    declare(
        "section-three-steps",
        f"{folder}/section.three_steps.json",
        {
            "generator": entry["generators"][swap]["title"],
            "swap": swap,
            "examples": entry["figures"]["examples"],
            "seed": entry["seed"],
        },
    )


rule train_classifier:
    input:
        settings="results/{experiment}/settings/train_classifier.{classifier}.json",
        train=classifier_images("train"),
        validation=classifier_images("validation"),
        weights=classifier_weights,
        arms=[],
        synthetic=[],
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
    threads: lambda w: threads_of(trained_classifiers(w.experiment)[w.classifier])
    resources:
        gpu=lambda w: trained_classifiers(w.experiment)[w.classifier]["processes"],
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
        classifier=of_task("pseudo_labels", "results/{experiment}/tasks/{task}/models/real.pt"),
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


rule grad_cam:
    input:
        settings="results/{experiment}/settings/grad_cam.json",
        classifiers=lambda w: [
            of_task("grad_cam", "results/{experiment}/tasks/{task}/models/real.pt")(w),
            of_task("grad_cam", "results/{experiment}/tasks/{task}/models/{swap}.pt")(w),
        ],
        test="results/{experiment}/images/test.zip",
        scores=of_task("grad_cam", "results/{experiment}/tasks/{task}/scores.csv"),
        summary=of_task("grad_cam", "results/{experiment}/tasks/{task}/summary.json"),
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
        pseudo_labels=lambda w: f"results/{w.experiment}/images/synthetic/{swapped(w.experiment)}.labels.json",
        cam="results/{experiment}/three_steps/cam.json",
        maps="results/{experiment}/three_steps/cam_maps.zip",
        test="results/{experiment}/images/test.zip",
        synthetic=lambda w: f"results/{w.experiment}/images/synthetic/{swapped(w.experiment)}.zip",
        document=document,
        code=code("results/{experiment}/settings/section.three_steps.json"),
    output:
        section="results/{experiment}/sections/three_steps.json",
        out=exhibits("three_steps"),
    log:
        "logs/{experiment}/section.three_steps.log",
    benchmark:
        "logs/{experiment}/section.three_steps.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-three-steps")
