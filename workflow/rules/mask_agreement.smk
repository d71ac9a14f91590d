# Whether painted images follow their masks, seen ones and new ones: a segmenter of other photographs draws on them.
for experiment in having("mask_agreement"):
    entry, judged = config["experiments"][experiment], mask_agreement(experiment)
    folder, seed = f"results/{experiment}/settings", {"seed": entry["seed"]}
    source = config["datasets"][judged["dataset"]]["source"]
    content = {**without_workers(entry["prepare"]), "source": source, "synthetic": None, "prefix": ""}
    declare("prepare", f"{folder}/prepare_judge.json", content)
    declare("drop-known", f"{folder}/drop_judge.json", {"classes": entry["classes"], "second_test": None})
    declare("split", f"{folder}/split_judge.json", judged["split"])
    content = {**judged["training"], **seed, "arm": None, "sets": [], "augment": True}
    declare("train-segmenter", f"{folder}/train_judge.json", content)
    named = ("dataset", "split", "generators", "training")
    options = {key: value for key, value in judged.items() if key not in named}
    level = {"level": entry["fidelity"]["metrics"]["level"]}
    for name in judged["generators"]:
        declare(
            "mask-agreement", f"{folder}/mask_agreement.{name}.json", {**options, **level, **seed, "generator": name}
        )
    titles = {name: entry["generators"][name]["title"] for name in judged["generators"]}
    declare("section-mask-agreement", f"{folder}/section.mask_agreement.json", {"generators": titles})


rule prepare_judge:
    input:
        settings="results/{experiment}/settings/prepare_judge.json",
        raw=lambda w: raw(mask_agreement(w.experiment)["dataset"], "raw"),
        code=code("results/{experiment}/settings/prepare_judge.json"),
    output:
        images="results/{experiment}/images/judge/all.zip",
        rejects="results/{experiment}/images/judge/all.rejects.csv",
    log:
        "logs/{experiment}/prepare_judge.log",
    benchmark:
        "logs/{experiment}/prepare_judge.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: workers
    shell:
        command("prepare") + WORKERS


rule drop_judge:
    input:
        settings="results/{experiment}/settings/drop_judge.json",
        images="results/{experiment}/images/judge/all.zip",
        known=expand("results/{{experiment}}/images/{part}.zip", part=PARTS),
        code=code("results/{experiment}/settings/drop_judge.json"),
    output:
        kept="results/{experiment}/images/judge/others.zip",
        report="results/{experiment}/images/judge/others.json",
    log:
        "logs/{experiment}/drop_judge.log",
    benchmark:
        "logs/{experiment}/drop_judge.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("drop-known")


rule split_judge:
    input:
        settings="results/{experiment}/settings/split_judge.json",
        images="results/{experiment}/images/judge/others.zip",
        code=code("results/{experiment}/settings/split_judge.json"),
    output:
        train="results/{experiment}/images/judge/train.zip",
        validation="results/{experiment}/images/judge/validation.zip",
        test="results/{experiment}/images/judge/test.zip",
        report="results/{experiment}/images/judge/split.json",
    log:
        "logs/{experiment}/split_judge.log",
    benchmark:
        "logs/{experiment}/split_judge.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("split")


rule train_judge:
    input:
        settings="results/{experiment}/settings/train_judge.json",
        train="results/{experiment}/images/judge/train.zip",
        validation="results/{experiment}/images/judge/validation.zip",
        arms=[],
        synthetic=[],
        grid=[],
        code=code("results/{experiment}/settings/train_judge.json"),
    output:
        segmenter="results/{experiment}/agreement/judge.pt",
        report="results/{experiment}/agreement/judge.report.json",
    log:
        "logs/{experiment}/train_judge.log",
    benchmark:
        "logs/{experiment}/train_judge.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: threads_of(mask_agreement(w.experiment)["training"])
    resources:
        gpu=lambda w: mask_agreement(w.experiment)["training"]["processes"],
    shell:
        command("train-segmenter")


rule mask_agreement:
    input:
        settings="results/{experiment}/settings/mask_agreement.{generator}.json",
        checkpoint=first_checkpoint,
        judge="results/{experiment}/agreement/judge.pt",
        train="results/{experiment}/images/train.zip",
        test="results/{experiment}/images/test.zip",
        code=code("results/{experiment}/settings/mask_agreement.{generator}.json"),
    output:
        out="results/{experiment}/agreement/{generator}.json",
        pictures="results/{experiment}/agreement/{generator}.npz",
    log:
        "logs/{experiment}/mask_agreement.{generator}.log",
    benchmark:
        "logs/{experiment}/mask_agreement.{generator}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: mask_agreement(w.experiment)["threads"]
    resources:
        gpu=1,
    shell:
        command("mask-agreement")


rule section_mask_agreement:
    input:
        settings="results/{experiment}/settings/section.mask_agreement.json",
        agreement=agreement_files("json"),
        pictures=agreement_files("npz"),
        others="results/{experiment}/images/judge/split.json",
        document=document,
        code=code("results/{experiment}/settings/section.mask_agreement.json"),
    output:
        section="results/{experiment}/sections/mask_agreement.json",
        out=exhibits("mask_agreement"),
    log:
        "logs/{experiment}/section.mask_agreement.log",
    benchmark:
        "logs/{experiment}/section.mask_agreement.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-mask-agreement")
