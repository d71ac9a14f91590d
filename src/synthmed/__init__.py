"""synthmed: does adding synthetic medical images help a classifier, and is the synthetic set safe to share?"""

__version__ = "0.1.0"
