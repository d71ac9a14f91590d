# The report: a rule for each section, whose exhibits stand in src/synthmed/report/sections/, and the page that joins them.
for experiment in EXPERIMENTS:
    entry = config["experiments"][experiment]
    folder = f"results/{experiment}/settings"
    provider = dataset_of(experiment)["provider"]
    named = {name: named_in_report(name, generator) for name, generator in entry["generators"].items()}
    arms = {"generators": sets_in_report(experiment)}
    tasks = tasks_of(experiment)
    phantom, count = {"phantom": provider == "phantom"}, {"tasks": len(tasks)}
    shared = {"generators": named}
    labelled = {"classes": entry["classes"], "pseudo_labelled": pseudo_labelled(experiment)}
    declare("section-question", f"{folder}/section.question.json", {"task": entry["task"]})
    examples = {"examples": entry["figures"]["examples"], "seed": entry["seed"]}
    declare("section-data", f"{folder}/section.data.json", {**shared, **labelled, **examples, "provider": provider})
    elsewhere = [generator["title"] for generator in named.values() if generator["model"] == "external"]
    trained = {name: named_in_report(name, trained_generators(experiment)[name]) for name in trained_here(experiment)}
    titles = {f"{name}, {part}": titled(experiment, name, part) for name, part in all_trainings(experiment)}
    declare("section-methods", f"{folder}/section.methods.json", {"external": elsewhere, "titles": titles})
    loops = [trained_generators(experiment)[name]["training"] for name in trained]
    jitter = max((loop["jitter"] for loop in loops if loop["jitter"] is not None), default=None)
    about = {"jitter": jitter, "flip": any(loop["flip"] for loop in loops), "seed": entry["seed"]}
    about |= {"costs": f"../../logs/{experiment}/costs.html"}
    declare("section-networks", f"{folder}/section.networks.json", {**about, "generators": trained})
    drawers = {name: named_in_report(name, one) for name, one in mask_generators(experiment).items()}
    quality = {"generators": {**named, **drawers}, **labelled, "domain_only": domain_only(experiment)}
    declare("section-quality", f"{folder}/section.quality.json", quality)
    drawing = drawing_masks(experiment)
    drawn = {name: {**entry["generators"], **mask_generators(experiment)}[name]["title"] for name in drawing}
    sharing = {**shared, "mask_generators": drawn, "painting_real_masks": painting_real_masks(experiment)}
    declare("section-sharing", f"{folder}/section.sharing.json", sharing)
    declare("section-limits", f"{folder}/section.limits.json", phantom)
    declare("section-provenance", f"{folder}/section.provenance.json", {})
    for name, task in tasks.items():
        warned = {"phantom": provider == "phantom" and name == first_task(experiment)}
        warned["pseudo_labelled"] = pseudo_labelled(experiment)
        declare("section-answer", f"{folder}/section.answer.{name}.json", {**arms, **count, **warned})
        declare("section-task", f"{folder}/section.task.{name}.json", {**arms, **count})
        if task["kind"] == "segmentation":
            drawn = {"classes": list(entry["prepare"]["masks"]["classes"])}
            declare("section-segmentation", f"{folder}/section.segmentation.{name}.json", {**shared, **count, **drawn})
        if validated(experiment, name) or name == first_task(experiment):
            declare("section-trust", f"{folder}/section.trust.{name}.json", {**count, "title": task["title"]})
    number = sum(len(arms_of(experiment, task)) for task in tasks)
    trained = {generator["of"] for generator in named.values()}
    content = {"title": entry["title"], "provider": provider, "generators": len(trained), "arms": number}
    declare("page", f"{folder}/page.json", content)


rule section_question:
    input:
        settings="results/{experiment}/settings/section.question.json",
        code=code("results/{experiment}/settings/section.question.json"),
    output:
        section="results/{experiment}/sections/question.json",
    log:
        "logs/{experiment}/section.question.log",
    benchmark:
        "logs/{experiment}/section.question.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("section-question")


rule section_answer:
    input:
        settings="results/{experiment}/settings/section.answer.{task}.json",
        verdicts="results/{experiment}/tasks/{task}/verdicts.json",
        summary="results/{experiment}/tasks/{task}/summary.json",
        copies=first_answer(of_generators("copies", "json")),
        document=document,
        code=code("results/{experiment}/settings/section.answer.{task}.json"),
    output:
        section="results/{experiment}/sections/answer.{task}.json",
        out=exhibits("answer"),
    log:
        "logs/{experiment}/section.answer.{task}.log",
    benchmark:
        "logs/{experiment}/section.answer.{task}.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-answer")


rule section_data:
    input:
        settings="results/{experiment}/settings/section.data.json",
        split_report="results/{experiment}/images/split.json",
        train="results/{experiment}/images/train.zip",
        synthetics=of_generators("images", "zip"),
        code=code("results/{experiment}/settings/section.data.json"),
    output:
        section="results/{experiment}/sections/data.json",
        out=exhibits("data"),
    log:
        "logs/{experiment}/section.data.log",
    benchmark:
        "logs/{experiment}/section.data.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-data")


rule section_methods:
    input:
        settings="results/{experiment}/settings/section.methods.json",
        verdicts=of_tasks("verdicts.json"),
        summaries=of_tasks("summary.json"),
        trainings=training_settings,
        history="metrics/{experiment}.training.csv",
        code=code("results/{experiment}/settings/section.methods.json"),
    output:
        section="results/{experiment}/sections/methods.json",
        out=exhibits("methods"),
    log:
        "logs/{experiment}/section.methods.log",
    benchmark:
        "logs/{experiment}/section.methods.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-methods")


rule section_networks:
    input:
        settings="results/{experiment}/settings/section.networks.json",
        networks=lambda w: [
            f"results/{w.experiment}/generators/{name}/networks.json" for name in trained_here(w.experiment)
        ],
        train="results/{experiment}/images/train.zip",
        document=document,
        code=code("results/{experiment}/settings/section.networks.json"),
    output:
        section="results/{experiment}/sections/networks.json",
        out=exhibits("networks"),
    log:
        "logs/{experiment}/section.networks.log",
    benchmark:
        "logs/{experiment}/section.networks.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-networks")


rule section_quality:
    input:
        settings="results/{experiment}/settings/section.quality.json",
        fidelity=fidelity_of_views,
        diversity="results/{experiment}/set_diversity.json",
        verdicts=of_tasks("verdicts.json"),
        document=document,
        code=code("results/{experiment}/settings/section.quality.json"),
    output:
        section="results/{experiment}/sections/quality.json",
        out=exhibits("quality"),
    log:
        "logs/{experiment}/section.quality.log",
    benchmark:
        "logs/{experiment}/section.quality.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-quality")


rule section_task:
    input:
        settings="results/{experiment}/settings/section.task.{task}.json",
        verdicts="results/{experiment}/tasks/{task}/verdicts.json",
        summary="results/{experiment}/tasks/{task}/summary.json",
        grid=grid,
        roc="metrics/{experiment}.roc.csv",
        document=document,
        code=code("results/{experiment}/settings/section.task.{task}.json"),
    output:
        section="results/{experiment}/sections/task.{task}.json",
        out=exhibits("task"),
    log:
        "logs/{experiment}/section.task.{task}.log",
    benchmark:
        "logs/{experiment}/section.task.{task}.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-task")


rule section_segmentation:
    input:
        settings="results/{experiment}/settings/section.segmentation.{task}.json",
        verdicts="results/{experiment}/tasks/{task}/verdicts.json",
        summary="results/{experiment}/tasks/{task}/summary.json",
        predictions="results/{experiment}/tasks/{task}/predictions.zip",
        test="results/{experiment}/images/test.zip",
        document=document,
        code=code("results/{experiment}/settings/section.segmentation.{task}.json"),
    output:
        section="results/{experiment}/sections/segmentation.{task}.json",
        out=exhibits("segmentation"),
    log:
        "logs/{experiment}/section.segmentation.{task}.log",
    benchmark:
        "logs/{experiment}/section.segmentation.{task}.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-segmentation")


rule section_sharing:
    input:
        settings="results/{experiment}/settings/section.sharing.json",
        copies=of_generators("copies", "json"),
        pairs=of_generators("copies", "png"),
        mask_copies=audits_of_masks("json"),
        mask_pairs=audits_of_masks("masks.png"),
        code=code("results/{experiment}/settings/section.sharing.json"),
    output:
        section="results/{experiment}/sections/sharing.json",
        out=exhibits("sharing"),
    log:
        "logs/{experiment}/section.sharing.log",
    benchmark:
        "logs/{experiment}/section.sharing.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-sharing")


rule section_trust:
    input:
        settings="results/{experiment}/settings/section.trust.{task}.json",
        validation=validation,
        code=code("results/{experiment}/settings/section.trust.{task}.json"),
    output:
        section="results/{experiment}/sections/trust.{task}.json",
        out=exhibits("trust"),
    log:
        "logs/{experiment}/section.trust.{task}.log",
    benchmark:
        "logs/{experiment}/section.trust.{task}.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-trust")


rule section_limits:
    input:
        settings="results/{experiment}/settings/section.limits.json",
        verdicts=of_tasks("verdicts.json"),
        validations=validations,
        document=document,
        code=code("results/{experiment}/settings/section.limits.json"),
    output:
        section="results/{experiment}/sections/limits.json",
    log:
        "logs/{experiment}/section.limits.log",
    benchmark:
        "logs/{experiment}/section.limits.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("section-limits")


rule section_provenance:
    input:
        settings="results/{experiment}/settings/section.provenance.json",
        files=result_files,
        settings_files=settings_files,
        code=code("results/{experiment}/settings/section.provenance.json"),
    output:
        section="results/{experiment}/sections/provenance.json",
    log:
        "logs/{experiment}/section.provenance.log",
    benchmark:
        "logs/{experiment}/section.provenance.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("section-provenance")


rule page:
    input:
        settings="results/{experiment}/settings/page.json",
        sections=lambda w: [f"results/{w.experiment}/sections/{name}.json" for name in instances(w.experiment)],
        figures=section_files,
        code=code("results/{experiment}/settings/page.json"),
    output:
        out=report("results/{experiment}/report.html", category="{experiment}", subcategory="Report"),
    log:
        "logs/{experiment}/page.log",
    benchmark:
        "logs/{experiment}/page.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("page")


for experiment in EXPERIMENTS:

    rule:
        name:
            f"experiment_{experiment}"
        input:
            f"results/{experiment}/report.html",
            f"results/{experiment}/images/raw.rejects.csv",
            f"metrics/{experiment}.json",
        localrule: True


# What `doctor` tells of each experiment: what it needs from outside.
FILES[OUTSIDE] = dump_json(
    {
        "datasets": {name: entry["provider"] for name, entry in config["datasets"].items()},
        "experiments": {name: config["experiments"][name] for name in EXPERIMENTS},
    }
)


rule doctor:
    log:
        "logs/doctor.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        outside=OUTSIDE,
    shell:
        "synthmed doctor --settings {params.outside} 2>&1 | tee {log}"


rule settle:
    log:
        "logs/settle.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        named=NAMED,
    shell:
        # Snakemake counts the time of a benchmark file as that of its outputs.
        "synthmed settle results data metrics --named {params.named} 2>&1 | tee {log} && find logs -name '*.benchmark.tsv' -exec touch {{}} +"
