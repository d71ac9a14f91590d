# Quality over the training, from the states that were kept, and the choice of one of them.
for experiment in having("states"):
    entry = config["experiments"][experiment]
    folder = f"results/{experiment}/settings"
    states = entry["states"]
    measured = {key: states[key] for key in ("images", "few", "few_draws", "shown", "extractor")}
    for name in scored_generators(experiment):
        generator = entry["generators"][name]
        for part, training, repeat in repeated(generator):
            declare(
                "score-states",
                f"{folder}/score_states.{name}.{part}.json",
                {
                    **entry["extractors"][states["extractor"]],
                    **measured,
                    "model": generator["model"],
                    "generator": name,
                    "part": part,
                    "classes": entry["classes"],
                    "labels": training["labels"],
                    "seed": entry["seed"],
                    "metrics": {**entry["fidelity"]["metrics"], "seed": entry["seed"]},
                },
            )
    for name in states["choose"]:
        declare("choose-state", f"{folder}/choose_state.{name}.json", {"generator": name})
    titles = {name: named_in_report(name, entry["generators"][name]) for name in scored_generators(experiment)}
    declare(
        "section-states",
        f"{folder}/section.states.json",
        {"generators": titles, **{key: states[key] for key in ("choose", "marks", "steps_shown")}},
    )


rule score_states:
    input:
        settings="results/{experiment}/settings/score_states.{generator}.{part}.json",
        states="results/{experiment}/generators/{generator}/{part}.states.zip",
        train="results/{experiment}/images/train.zip",
        test="results/{experiment}/images/test.zip",
        train_features=states_features("train"),
        test_features=states_features("test"),
        weights=states_weights,
        code=code("results/{experiment}/settings/score_states.{generator}.{part}.json"),
    output:
        scores="results/{experiment}/states/{generator}/{part}.json",
        pictures="results/{experiment}/states/{generator}/{part}.npz",
    log:
        "logs/{experiment}/score_states.{generator}.{part}.log",
    benchmark:
        "logs/{experiment}/score_states.{generator}.{part}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: states_threads
    resources:
        gpu=1,
    shell:
        command("score-states")


rule choose_state:
    input:
        settings="results/{experiment}/settings/choose_state.{generator}.json",
        states="results/{experiment}/generators/{generator}/{part}.states.zip",
        scores="results/{experiment}/states/{generator}/{part}.json",
        code=code("results/{experiment}/settings/choose_state.{generator}.json"),
    output:
        checkpoint="results/{experiment}/generators/{generator}/{part}.chosen.pt",
    log:
        "logs/{experiment}/choose_state.{generator}.{part}.log",
    benchmark:
        "logs/{experiment}/choose_state.{generator}.{part}.benchmark.tsv"
    conda:
        ENVIRONMENT
    shell:
        command("choose-state")


rule section_states:
    input:
        settings="results/{experiment}/settings/section.states.json",
        scores=state_scores,
        pictures=state_pictures,
        document=document,
        code=code("results/{experiment}/settings/section.states.json"),
    output:
        section="results/{experiment}/sections/states.json",
        out=exhibits("states"),
    log:
        "logs/{experiment}/section.states.log",
    benchmark:
        "logs/{experiment}/section.states.benchmark.tsv"
    conda:
        ENVIRONMENT
    params:
        captions=captions,
    shell:
        command("section-states")
