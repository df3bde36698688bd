"""Figures for notebooks and monitors: plain functions from numbers to matplotlib figures.

No function needs a display, touches pyplot's state or shows anything: a notebook shows the figure
that a cell returns, a script saves it (``savename=`` or ``figure.savefig``).
"""

from tomopt_tasks.core import lazy_exports

__all__ = [
    "compare_init_optimised_2",
    "compare_init_to_optimised",
    "compare_optimised_to_baselines",
    "compare_raw_init_to_bias_corrected_init",
    "draw_volume",
    "plot_heatmap",
    "plot_hit_density",
    "plot_optimisation_history",
    "plot_pred_true_x0",
    "plot_scatter_density",
    "plot_scatter_event",
    "save_gif",
]

_HERE = "tomopt_tasks.plotting"

__getattr__ = lazy_exports(
    _HERE,
    {
        "compare_init_optimised_2": f"{_HERE}.benchmarks",
        "compare_init_to_optimised": f"{_HERE}.benchmarks",
        "compare_optimised_to_baselines": f"{_HERE}.benchmarks",
        "compare_raw_init_to_bias_corrected_init": f"{_HERE}.benchmarks",
        "draw_volume": f"{_HERE}.volume",
        "plot_heatmap": f"{_HERE}.heatmap",
        "plot_hit_density": f"{_HERE}.density",
        "plot_optimisation_history": f"{_HERE}.history",
        "plot_pred_true_x0": f"{_HERE}.predictions",
        "plot_scatter_density": f"{_HERE}.density",
        "plot_scatter_event": f"{_HERE}.event",
        "save_gif": f"{_HERE}.figures",
    },
)
