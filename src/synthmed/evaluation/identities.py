"""Names of what the question of re-identification tells apart; without torch, for steps that only count."""

SEEN, CHANGED, UNSEEN, STRANGERS = "seen", "changed", "unseen", "strangers"
"""Test sets of real images: those that the classifier was trained on, the same mildly changed, others of the same
patients, and images of other patients."""

BY_ORIGIN, BY_NEAREST = "origin", "nearest"
"""Whose a generated image is said to be: the patient's whose image it was made from, or, where no image was, the
patient's of the training image nearest to it."""
