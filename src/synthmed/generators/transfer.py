"""Transfer: a training that begins with the weights of another checkpoint of this project."""

import logging
from dataclasses import asdict
from pathlib import Path

from synthmed.core.errors import InputError
from synthmed.generators.base import Generator
from synthmed.training import checkpoint as checkpoints

logger = logging.getLogger(__name__)


def transfer(model: Generator, path: Path, name: str) -> None:
    """Let `model`, untrained and of the model `name`, begin with the weights of the checkpoint `path`, and say in the
    log what of it begins anew.

    Raises InputError when the checkpoint is of another model, of other images or of other networks; another number of
    classes is allowed.
    """
    saved = checkpoints.load(path, model=name)
    theirs = (saved.image_shape, saved.legend, saved.masks)
    ours = (model.image_shape, model.legend, None if model.masks is None else model.masks.coding)
    if theirs != ours:
        raise InputError(f"{path}: a generator of images {theirs}, but this training is on {ours}; train both alike")
    other = type(model).build(model.config, saved.image_shape, saved.classes, saved.legend, saved.masks)
    try:
        other.load_inference_state(saved.state)
    except InputError as error:
        changed = checkpoints.differences(saved.config, asdict(model.config))
        raise InputError(f"{path}: other networks than this training has: {'; '.join(changed)}") from error
    anew = model.initialise_from(other)
    logger.info(f"begins with the weights of {path}, trained on {list(saved.classes)} for {saved.step} steps")
    if anew:
        logger.info(f"not in it, or of another number of classes, so anew: {', '.join(anew)}")
