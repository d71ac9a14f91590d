"""Tables, figures, the report page and the leaderboard: they read result files and measure nothing anew."""

TABLES = (
    *("table_3_1", "table_3_2", "table_quality", "table_4_1", "table_4_2", "table_4_4", "table_4_5"),
    *("table_sweep", "table_copies", "table_data", "table_validation"),
)
"""Stems of the files of the step `tables`, which every experiment has (those of one experiment: see section)."""

FIGURES = (
    *("figure_samples", "figure_training", "figure_fidelity", "figure_sweep", "figure_roc", "figure_confusion"),
    *("figure_verdicts", "figure_validation"),
)
"""Stems of the files of the step `figures`."""

SECTIONS = {
    "selection": ("figure_1", "table_exclusions", "table_1", "table_2", "table_rejects"),
    "three_steps": (
        *("table_3", "table_4", "table_5", "table_three_steps", "table_auroc_tests", "table_pseudo_labels"),
        *("table_cam", "figure_7", "figure_8", "figure_9", "figure_11", "figure_13"),
    ),
    "disease_axes": (
        *("table_axis_counts", "table_axis_scores", "table_axis_side_effects"),
        *("figure_10", "figure_12", "figure_axis_likelihoods"),
    ),
    "anomaly": (
        *("table_6", "table_anomaly_comparison", "table_anomaly_scores", "table_localisation", "table_anomaly_speed"),
        *("figure_14", "figure_15", "figure_anomaly_roc"),
    ),
}
"""Sections that only some experiments have, in the order of the report, with the stems of their files (see section)."""
