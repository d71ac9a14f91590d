# The report of an experiment comes back with the sections that read tasks.


for experiment in EXPERIMENTS:

    rule:
        name:
            f"experiment_{experiment}"
        input:
            f"metrics/{experiment}.json",
            f"results/{experiment}/images/raw.rejects.csv",
        localrule: True


rule settle:
    log:
        "logs/settle.log",
    localrule: True
    conda:
        ENVIRONMENT
    shell:
        # Snakemake counts the time of a benchmark file as that of its outputs.
        "synthmed settle results data metrics --named {NAMED} 2>&1 | tee {log} && find logs -name '*.benchmark.tsv' -exec touch {{}} +"
