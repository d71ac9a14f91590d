# What the rules of workflow/rules/selection.smk ask.
def device(suffix):
    """Input function: a file of the classifier that finds devices, or [] where none is named."""
    return lambda w: (
        f"results/{w.experiment}/classifiers/{name}.{suffix}"
        if (name := config["experiments"][w.experiment]["selection"]["device_classifier"])
        else []
    )
