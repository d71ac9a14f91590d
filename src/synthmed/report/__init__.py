"""The report and its tables and figures: they read result files, measure nothing anew and decide nothing."""
