"""Classifiers: the task by which synthetic images are judged."""
