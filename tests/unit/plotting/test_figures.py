import io

import numpy as np
import pytest
import torch
from matplotlib import pyplot, rcParams
from matplotlib.colors import to_rgba
from PIL import Image

from tests.unit.callbacks.toy import Layer, Panel, Volume, real_volume, scatters
from tomopt_tasks import plotting
from tomopt_tasks.callbacks.history import History
from tomopt_tasks.plotting import benchmarks
from tomopt_tasks.plotting.appearance import category_colour
from tomopt_tasks.plotting.event import measured
from tomopt_tasks.plotting.figures import new_figure, save_gif
from tomopt_tasks.plotting.panels import response


def grid(*shape):
    return np.linspace(0.1, 0.9, int(np.prod(shape))).reshape(shape)


def table(n_layers, n=60):
    x = np.linspace(0, 1, n)
    return {"x": x, "y": x[::-1], "layer": np.arange(n) % n_layers}


def comparison():
    target = np.repeat([0.6, 0.8, 1.0], 4)
    error = np.tile([0.1, -0.1, 0.2, 0.0], 3)
    columns = {"pred": target - error, "bias": error, "mse": error**2}
    corrected = {f"new_{name}": values / 2 for name, values in columns.items()}
    return {"gen_target": target, **columns, **corrected}


def draw_event():
    return plotting.plot_scatter_event(scatters(real_volume()), 2)


DRAW = {
    "pred_true": lambda: plotting.plot_pred_true_x0(grid(3, 4, 5), grid(3, 4, 5)),
    "scatters": lambda: plotting.plot_scatter_density(table(4)),
    "hits": lambda: plotting.plot_hit_density(table(4)),
    "event": draw_event,
    "volume": lambda: plotting.draw_volume(real_volume()),
    "history": lambda: plotting.plot_optimisation_history(History()),
    "raw": lambda: plotting.compare_raw_init_to_bias_corrected_init(comparison(), None)[0],
    "optimised": lambda: plotting.compare_init_to_optimised(comparison(), comparison(), None)[1],
    "optimised_2": lambda: plotting.compare_init_optimised_2(comparison(), comparison(), None)[2],
    "baselines": lambda: plotting.compare_optimised_to_baselines(
        comparison(), comparison(), comparison(), None
    )[2],
}


@pytest.mark.parametrize("name", DRAW)
def test_every_figure_is_drawn_without_a_window_or_changed_settings(name):
    before = dict(rcParams)
    figure = DRAW[name]()
    figure.canvas.draw()
    assert pyplot.get_fignums() == []
    assert dict(rcParams) == before


def test_a_notebook_shows_a_figure_without_pyplot():
    picture = new_figure((2, 1))._repr_png_()
    with Image.open(io.BytesIO(picture)) as image:
        assert image.size == (200, 100)


def test_figures_are_saved_where_a_name_is_given(tmp_path):
    plotting.plot_scatter_density(table(2), tmp_path / "density.png")
    assert (tmp_path / "density.png").stat().st_size > 0


def test_every_public_name_exists():
    for name in plotting.__all__:
        assert callable(getattr(plotting, name))
    with pytest.raises(AttributeError, match="plot_nothing"):
        _ = plotting.plot_nothing


@pytest.mark.parametrize("n_layers", [1, 2, 12])
def test_d52_any_number_of_layers_can_be_drawn(n_layers):
    """D-52: a single row or layer crashed."""
    figure = plotting.plot_pred_true_x0(grid(n_layers, 2, 3), grid(n_layers, 2, 3))
    maps = [axis for axis in figure.axes if axis.images]
    assert len(maps) == 2 * n_layers
    density = plotting.plot_scatter_density(table(n_layers))
    assert sum(axis.get_title() != "" for axis in density.axes) == n_layers


def test_d52_nothing_recorded_is_drawn_as_such():
    """D-52: an empty record has no layer at all."""
    figure = plotting.plot_hit_density({"x": [], "y": [], "layer": []})
    assert figure.axes[0].texts[0].get_text() == "nothing recorded"


def test_rows_of_maps_run_from_the_top_layer_down():
    true = grid(3, 2, 4)
    figure = plotting.plot_pred_true_x0(true * 2, true)
    maps = [axis for axis in figure.axes if axis.images]
    left = [axis for axis in maps if axis.get_ylabel()]
    assert [axis.get_ylabel() for axis in left] == ["Layer 2", "Layer 1", "Layer 0"]
    np.testing.assert_allclose(left[0].images[0].get_array(), true[2].T * 2)
    assert left[0].images[0].get_clim() == (true.min() * 2, true.max() * 2)


def test_unknown_voxels_are_gaps_and_all_unknown_is_no_error():
    pred = grid(2, 2, 2)
    pred[0, 0, 0] = np.nan
    plotting.plot_pred_true_x0(pred, grid(2, 2, 2))
    plotting.plot_pred_true_x0(np.full((1, 2, 2), np.nan), grid(1, 2, 2))


def test_grids_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(3, 2, 2\) and true \(2, 2, 2\)"):
        plotting.plot_pred_true_x0(grid(3, 2, 2), grid(2, 2, 2))


def test_density_of_a_layer_counts_its_points_only():
    figure = plotting.plot_scatter_density(
        {"x": [0.1, 0.2, 0.9], "y": [0.1] * 3, "layer": [0, 0, 3]}
    )
    counts = [axis.collections[0].get_array().sum() for axis in figure.axes[:2]]
    assert counts == [2, 1]
    assert [axis.get_title() for axis in figure.axes[:2]] == ["Layer 0", "Layer 3"]


def test_d46_limits_of_x_and_y_are_not_swapped():
    """D-46: the limits of x were given to y."""
    axis = plotting.draw_volume(real_volume(), xlim=(-1, 2), ylim=(-3, 4), zlim=(0, 5)).axes[0]
    assert axis.get_xlim() == (-1, 2)
    assert axis.get_ylim() == (-3, 4)
    assert axis.get_zlim() == (0, 5)


def test_volume_has_five_faces_a_layer_and_one_a_panel():
    axis = plotting.draw_volume(real_volume(n_panels=3)).axes[0]
    colours = [tuple(c.get_facecolor()[0][:3]) for c in axis.collections]
    assert colours.count(to_rgba("tab:blue")[:3]) == 5 * 5
    assert colours.count(to_rgba("tab:red")[:3]) == 2 * 3
    assert axis.get_xlim() == (-0.5, 1.5)  # panels 2 m wide about 0.5


def test_volume_with_heat_maps_can_be_drawn():
    panel = Panel()
    layer = Layer("above", [torch.nn.Module()])
    layer.panels[0].xy_fix, layer.panels[0].delta_xy = torch.tensor([0.5, 0.5]), 1.0
    layer.panels[0].z = panel.z
    axis = plotting.draw_volume(Volume([layer])).axes[0]
    assert len(axis.collections) == 4 * 5 + 1


def test_event_shows_hits_tracks_and_their_closest_approach():
    batch = scatters(real_volume().train())
    figure = plotting.plot_scatter_event(batch, 0)
    row = int(torch.nonzero(batch.valid)[0, 0])
    xyz, sigma = measured(*batch.above, row)
    assert xyz.shape == (4, 3)
    assert sigma[:, 2].tolist() == [0.0] * 4
    points = figure.axes[0].containers[0].lines[0].get_xydata()
    np.testing.assert_allclose(points, xyz[:, [0, 2]])
    assert len(figure.axes) == 3
    assert "mrad" in figure.get_suptitle()


def test_event_leaves_the_graph_of_the_scatters_intact():
    batch = scatters(real_volume().train())
    plotting.plot_scatter_event(batch, 0)
    assert batch.poca.xyz.requires_grad


@pytest.mark.parametrize("idx", [-1, 10_000])
def test_event_of_a_muon_that_is_not_there_is_a_clear_error(idx):
    with pytest.raises(IndexError, match=f"idx = {idx}"):
        plotting.plot_scatter_event(scatters(real_volume()), idx)


def history(n_epochs, **options):
    falling = [1.0 / (k + 1) for k in range(n_epochs)]
    shares = {"cost": [0.25] * n_epochs, "error": [0.75] * n_epochs}
    training = [value for value in falling for _ in range(2)]
    return History(training, falling, shares, batches_per_epoch=2, **options)


def view(pos="above", k=0, smooth=None):
    return {"pos": pos, "xy": [0.5, 0.5], "z": 1 + 0.1 * k, "span": [1, 1], "smooth": smooth}


@pytest.mark.parametrize("n_epochs", [0, 1, 3])
@pytest.mark.parametrize("metrics", [{}, {"a": [1.0, 2.0, 3.0]}])
@pytest.mark.parametrize("n_panels", [0, 1, 12])
def test_d47_history_has_a_row_for_metrics_if_there_are_any(n_epochs, metrics, n_panels):
    """D-47: the row of the metrics existed only without metrics; colours ended after ten panels."""
    cut = {name: values[:n_epochs] for name, values in metrics.items()}
    panels = [view(pos, k) for k in range(n_panels) for pos in ("above", "below")]
    figure = plotting.plot_optimisation_history(history(n_epochs, metrics=cut, panels=panels))
    figure.canvas.draw()
    assert len(figure.axes) == 2 + len(metrics) + (6 if n_panels else 0)


def test_training_curve_advances_by_the_update_and_validation_by_the_epoch():
    axis = plotting.plot_optimisation_history(history(3)).axes[0]
    training, validation, best = axis.lines
    np.testing.assert_allclose(training.get_xdata(), [0.5, 1.0, 1.5, 2.0, 2.5, 3.0])
    np.testing.assert_allclose(validation.get_xdata(), [1, 2, 3])
    assert best.get_label() == "Best = 3.333E-01"
    assert axis.get_xlim() == (0.5, 3.0)


@pytest.mark.parametrize(("lower", "best"), [(True, "1.000E+00"), (False, "3.000E+00")])
def test_best_metric_follows_its_direction(lower, best):
    found = history(3, metrics={"a": [2.0, 1.0, 3.0]}, lower_is_better={"a": lower})
    axis = plotting.plot_optimisation_history(found).axes[2]
    assert axis.lines[-1].get_label() == f"Best = {best}"


def test_infinite_losses_are_gaps():
    figure = plotting.plot_optimisation_history(History([1.0, np.inf, 0.5], [np.inf]))
    figure.canvas.draw()
    assert np.isnan(figure.axes[0].lines[0].get_ydata()).tolist() == [False, True, False]


def test_response_of_sigmoid_panels_is_drawn_once():
    panels = [view(smooth=0.5), view("below", smooth=0.5)]
    figure = plotting.plot_optimisation_history(history(1, panels=panels))
    assert len(figure.axes) == 2 + 6 + 1


def test_response_has_the_published_values():
    # spec 13.1, smooth 0.1 and 1.0 at delta 0, 0.5, 1, 2
    distance = np.array([0, 0.5, 1, 2])
    np.testing.assert_allclose(
        response(distance, 0.1), [1, 0.9933522, 0.5000227, 4.539993e-5], rtol=1e-6
    )
    np.testing.assert_allclose(
        response(distance, 1.0), [1, 0.8514493, 0.6839397, 0.3678794], rtol=1e-6
    )


def test_colours_repeat_after_the_last_one():
    assert category_colour(0) == category_colour(10)
    assert len({category_colour(k) for k in range(10)}) == 10


def test_comparisons_are_saved_under_their_published_names(tmp_path, monkeypatch):
    name = str(tmp_path / "study")
    plotting.compare_raw_init_to_bias_corrected_init(comparison(), name)
    assert len(list((tmp_path / "study_plots").glob("initial_*.pdf"))) == 3
    saved = []
    monkeypatch.setattr(benchmarks, "finish", lambda figure, path: saved.append(path) or figure)
    data = comparison()
    plotting.compare_raw_init_to_bias_corrected_init(data, name)
    plotting.compare_init_to_optimised(data, data, name)
    plotting.compare_init_optimised_2(data, data, name)
    plotting.compare_optimised_to_baselines(data, data, data, name)
    prefixes = ("initial", "optimised", "optimised_2", "baseline")
    expected = {f"{p}_{q}.pdf" for p in prefixes for q in ("predictions", "bias", "mse")}
    assert {path.name for path in saved} == expected


def test_comparison_shows_mean_and_spread_of_each_height():
    figures = plotting.compare_raw_init_to_bias_corrected_init(comparison(), None)
    raw, corrected = figures[1].axes[0].containers
    # errors 0.1, -0.1, 0.2, 0.0: mean 0.05, std sqrt(0.05 / 3)
    np.testing.assert_allclose(raw.lines[0].get_ydata(), [0.05] * 3)
    bars = raw.lines[2][0].get_segments()
    assert bars[0][1, 1] - bars[0][0, 1] == pytest.approx(2 * np.sqrt(0.05 / 3))
    np.testing.assert_allclose(corrected.lines[0].get_ydata(), [0.025] * 3)


@pytest.mark.parametrize(
    ("draw", "scale"),
    [
        (plotting.compare_init_to_optimised, "log"),
        (plotting.compare_init_optimised_2, "log"),
        (lambda a, b, name: plotting.compare_optimised_to_baselines(a, b, b, name), "linear"),
    ],
)
def test_squared_errors_of_optimised_designs_are_on_a_logarithmic_axis(draw, scale):
    figures = draw(comparison(), comparison(), None)
    assert [figure.axes[0].get_yscale() for figure in figures] == ["linear", "linear", scale]


def test_d49_film_lasts_as_many_seconds_as_asked(tmp_path):
    """D-49: the unit of a frame's duration changed in the library, the gif could not be written."""
    pictures = [new_figure((1, 1)) for _ in range(4)]
    for k, picture in enumerate(pictures):
        picture.set_facecolor(str(k / 4))
    save_gif(pictures, tmp_path / "film.gif", 2.0)
    with Image.open(tmp_path / "film.gif") as film:
        assert (film.n_frames, film.info["duration"]) == (4, 500)


def test_no_pictures_make_no_film(tmp_path):
    save_gif([], tmp_path / "film.gif", 2.0)
    assert list(tmp_path.iterdir()) == []
