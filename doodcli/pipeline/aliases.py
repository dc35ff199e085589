"""The paper's names of its figures and tables, and the tasks that make them."""

ALIASES = {
    "fig1": ("reconstruct",),
    "fig3": ("reconstruct", "compare"),
    "fig4": ("transfer",),
    "fig5": ("clusters",),
    "fig6": ("samples", "samples-paper", "fid"),
    "fig7": ("exemplars",),
    "fig8": ("complete",),
    "table1": ("oneshot",),
    "ablations": ("transfer",),
    "probes": ("probe",),
}
