# A reader study: images that people are asked about, the form, the answers, what they show.
for experiment in having("reader_study"):
    entry = config["experiments"][experiment]
    folder = f"results/{experiment}/settings"
    asked = reader_study(experiment)
    seed = {"seed": entry["seed"]}
    declare(
        "draw-study", f"{folder}/draw_study.json", {**asked["study"], "tagged": tagged_in_study(experiment), **seed}
    )
    declare("embed", f"{folder}/embed.json", asked["embedding"])
    declare("write-form", f"{folder}/write_form.json", {})
    declare("merge-answers", f"{folder}/merge_answers.json", {})
    declare("analyse-readers", f"{folder}/analyse_readers.json", asked["analysis"])
    names = simulated_readers(experiment)
    if names:
        options = {key: value for key, value in asked["answers"].items() if key != "kind"}
        roles = {"roles": asked["analysis"]["roles"]}
        declare("simulate-readers", f"{folder}/simulate_readers.json", {**options, **roles, **seed})
    known = {**entry["generators"], **derived_sets(experiment)}
    titles = {name: known[name]["title"] for name in asked["study"]["sets"] if name != "real"}
    declare(
        "section-reader-study",
        f"{folder}/section.reader_study.json",
        {
            "names": {code_of_reader(number): name for number, name in enumerate(names, 1)},
            "sets": {"real": "real", **titles},
            "form": "readers/form.html",
            "labelled": experiment in having("tags") and tagged_images(experiment) is None,
            "tagged": list(tagged_in_study(experiment)),
        },
    )


rule embed:
    input:
        settings="results/{experiment}/settings/embed.json",
        classifier=lambda w: (f"results/{w.experiment}/tasks/{reader_study(w.experiment)['task']}/models/real.pt"),
        images=embedded_images,
        code=code("results/{experiment}/settings/embed.json"),
    output:
        out="results/{experiment}/readers/embedding/{part}.npz",
    log:
        "logs/{experiment}/embed.{part}.log",
    benchmark:
        "logs/{experiment}/embed.{part}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: lambda w: reader_study(w.experiment)["embedding"]["threads"]
    resources:
        gpu=1,
    shell:
        command("embed")


rule draw_study:
    input:
        settings="results/{experiment}/settings/draw_study.json",
        sets=study_images,
        features=study_embeddings,
        real_features=study_real_embedding,
        tags=study_tags,
        real="results/{experiment}/images/train.zip",
        code=code("results/{experiment}/settings/draw_study.json"),
    output:
        key="results/{experiment}/readers/key.zip",
        examples="results/{experiment}/readers/examples.zip",
        out="results/{experiment}/readers/study.json",
    log:
        "logs/{experiment}/draw_study.log",
    benchmark:
        "logs/{experiment}/draw_study.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("draw-study")


rule write_form:
    input:
        settings="results/{experiment}/settings/write_form.json",
        study="results/{experiment}/readers/study.json",
        key="results/{experiment}/readers/key.zip",
        examples="results/{experiment}/readers/examples.zip",
        code=code("results/{experiment}/settings/write_form.json"),
    output:
        out="results/{experiment}/readers/form.html",
    log:
        "logs/{experiment}/write_form.log",
    benchmark:
        "logs/{experiment}/write_form.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("write-form")


for experiment in having("reader_study"):
    if simulated_readers(experiment):

        rule:
            name:
                f"simulate_readers_{experiment}"
            input:
                settings=f"results/{experiment}/settings/simulate_readers.json",
                study=f"results/{experiment}/readers/study.json",
                key=f"results/{experiment}/readers/key.zip",
                code=code(f"results/{experiment}/settings/simulate_readers.json"),
            output:
                answers=[
                    f"results/{experiment}/readers/simulated/{code_of_reader(number)}.json"
                    for number, _ in enumerate(simulated_readers(experiment), 1)
                ],
            log:
                f"logs/{experiment}/simulate_readers.log",
            benchmark:
                f"logs/{experiment}/simulate_readers.benchmark.tsv"
            conda:
                ENVIRONMENT
            shell:
                command("simulate-readers")


rule merge_answers:
    input:
        settings="results/{experiment}/settings/merge_answers.json",
        study="results/{experiment}/readers/study.json",
        answers=returned_answers,
        code=code("results/{experiment}/settings/merge_answers.json"),
    output:
        out="results/{experiment}/readers/answers.csv",
    log:
        "logs/{experiment}/merge_answers.log",
    benchmark:
        "logs/{experiment}/merge_answers.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("merge-answers")


rule analyse_readers:
    input:
        settings="results/{experiment}/settings/analyse_readers.json",
        study="results/{experiment}/readers/study.json",
        key="results/{experiment}/readers/key.zip",
        answers="results/{experiment}/readers/answers.csv",
        code=code("results/{experiment}/settings/analyse_readers.json"),
    output:
        out="results/{experiment}/readers/analysis.json",
    log:
        "logs/{experiment}/analyse_readers.log",
    benchmark:
        "logs/{experiment}/analyse_readers.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("analyse-readers")


rule section_reader_study:
    input:
        settings="results/{experiment}/settings/section.reader_study.json",
        analysis="results/{experiment}/readers/analysis.json",
        study="results/{experiment}/readers/study.json",
        key="results/{experiment}/readers/key.zip",
        form="results/{experiment}/readers/form.html",
        document=document,
        code=code("results/{experiment}/settings/section.reader_study.json"),
    output:
        section="results/{experiment}/sections/reader_study.json",
        out=exhibits("reader_study"),
    log:
        "logs/{experiment}/section.reader_study.log",
    benchmark:
        "logs/{experiment}/section.reader_study.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-reader-study")
