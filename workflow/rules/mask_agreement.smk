# Whether painted images follow their masks, seen ones and new ones: a segmenter of other photographs draws on them.
for experiment in having("mask_agreement"):
    entry, judged = config["experiments"][experiment], mask_agreement(experiment)
    folder, seed = f"results/{experiment}/settings", {"seed": entry["seed"]}
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
