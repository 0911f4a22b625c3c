"""Plots and tables of a report: nothing lost, nothing overlapping, the same file every time."""

import itertools
import re

import numpy as np
import pytest
from matplotlib.axes import Axes

import simulator
from simulator import breakdown, comparison, html_report, plots, quantities
from simulator.accelerators import neupims
from simulator.report import Report
from workloads import gemm, methods, networks


@pytest.fixture(scope="module")
def reports() -> list[Report]:
    step = networks.find("resnet18", batch=4).training_step()
    return [simulator.run("sat", workload) for workload in (step, methods.bdwp(2, 8)(step))]


@pytest.mark.parametrize("shown", [1, 2, 7, 1000])
def test_layers_that_are_not_shown_are_summed(reports: list[Report], shown: int) -> None:
    layers = breakdown.largest_layers(reports[1], shown)
    assert len(layers) <= shown
    assert sum(layer.cycles for layer in layers) == reports[1].cycles
    totals = {name: sum(x.cycles_by_pass.get(name, 0) for x in layers) for name in ("FF", "BP")}
    by_pass = breakdown.cycles_by(reports[1], "pass")
    assert totals == {name: by_pass[name] for name in totals}


def test_the_layers_shown_are_the_largest(reports: list[Report]) -> None:
    *shown, rest = breakdown.largest_layers(reports[1], 6)
    smallest = min(layer.cycles for layer in shown)
    names = {layer.layer for layer in shown}
    others = [layer for layer in breakdown.by_layer(reports[1]) if layer.layer not in names]
    assert max(layer.cycles for layer in others) <= smallest
    assert rest.layer == f"{len(others)} other layers"


@pytest.fixture(scope="module")
def many() -> list[Report]:
    """Four accelerators with four methods; the last accelerator is a hundred times as fast."""
    step = networks.find("resnet18", batch=4).training_step()
    names = ("dense", "bdwp:2:8", "sr-ste:2:8", "sdgp:2:8")
    return comparison.reports(["sat", "systolic", "tensorcore", "gpu"], step, names)


@pytest.mark.parametrize("whose", ["reports", "many"])
def test_no_text_of_a_plot_lies_on_another(whose: str, request: pytest.FixtureRequest) -> None:
    shown = request.getfixturevalue(whose)
    for name, figure in plots.figures(shown, shown[1]).items():
        figure.draw_without_rendering()
        _check_apart(figure.axes[0], name)


def test_no_text_of_the_page_lies_on_another(many: list[Report]) -> None:
    page = plots.overview(many, many[1])
    page.draw_without_rendering()
    for axes in page.axes:
        _check_apart(axes, axes.get_title(loc="left"))


def _check_apart(axes: Axes, name: str) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        labels = [label for label in axis.get_ticklabels() if label.get_text()]
        boxes = [label.get_window_extent() for label in labels]
        for one, other in itertools.pairwise(boxes):
            assert not one.overlaps(other), name
    legend = axes.get_legend().get_window_extent()
    texts = [text.get_window_extent() for text in axes.texts]
    for one, other in itertools.combinations([*texts, legend], 2):
        assert not one.overlaps(other), name
    for bar in axes.patches:
        assert not legend.overlaps(bar.get_window_extent())


def test_the_energy_beside_a_bar_is_that_of_the_table(many: list[Report]) -> None:
    (axes,) = plots.figures(many, many[0])["energy"].axes
    shown = [text.get_text() for text in axes.texts]
    assert shown == [quantities.joules(report.energy_j) for report in many]


def test_every_component_of_energy_has_a_colour_of_its_own(many: list[Report]) -> None:
    (axes,) = plots.figures(many, many[0])["energy"].axes
    colours = {bars.get_label(): bars.patches[0].get_facecolor() for bars in axes.containers}
    assert len(set(colours.values())) == len(colours) > 7
    components = {name for report in many for name in report.energy_pj}
    assert len(components) <= len(set(plots.COMPONENT_COLOURS)) == len(plots.COMPONENT_COLOURS)


def test_times_that_lie_decades_apart_are_all_to_be_seen(many: list[Report]) -> None:
    (axes,) = plots.figures(many, many[0])["comparison"].axes
    axes.figure.draw_without_rendering()
    assert max(r.seconds for r in many) > plots.LINEAR_SPAN * min(r.seconds for r in many)
    left, right = axes.get_xlim()
    for report in many:
        place = np.log(report.seconds / left) / np.log(right / left)
        assert 0.05 < place < 0.95
    (linear,) = plots.figures(many[:2], many[0])["comparison"].axes
    assert (axes.get_xscale(), linear.get_xscale()) == ("log", "linear")


def test_layers_that_are_summed_make_no_bar(many: list[Report]) -> None:
    (axes,) = plots.figures(many, many[0])["layers"].axes
    *shown, rest = breakdown.largest_layers(many[0], plots.SHOWN_LAYERS)
    assert max(bar.get_y() for bar in axes.patches) < len(shown) - 0.5
    (text,) = axes.texts
    assert breakdown.time_text(many[0], rest.cycles) in text.get_text()
    assert axes.get_yticklabels()[-1].get_text() == rest.layer


def test_no_point_lies_above_the_roof(reports: list[Report]) -> None:
    (axes,) = plots.figures(reports, reports[1])["roofline"].axes
    (roof,) = axes.lines
    peak = roof.get_ydata().max()
    slope = roof.get_ydata()[0] / roof.get_xdata()[0]
    for points in axes.collections:
        for intensity, speed in points.get_offsets():
            assert speed <= min(peak, slope * intensity) * (1 + 1e-9)


@pytest.mark.parametrize("form", ["png", "svg"])
def test_the_same_report_gives_the_same_file(reports: list[Report], form: str) -> None:
    first, second = (plots.encode(plots.overview(reports, reports[1]), form) for _ in range(2))
    assert first == second


def test_a_report_without_products_has_no_roofline(reports: list[Report]) -> None:
    up = networks.find("resnet9", batch=1).training_step().only("UP")
    assert set(plots.figures([only := simulator.run("sat", up)], only)) == {"layers", "energy"}


def test_the_page_holds_everything_itself(reports: list[Report]) -> None:
    page = html_report.render(reports, reports[1])
    assert not re.search(r'(src|href)="(?!data:)', page)
    ratio = reports[0].seconds / reports[1].seconds
    assert f"{ratio:.2f} times as fast as dense on sat" in page
    for layer in breakdown.by_layer(reports[1]):
        assert (f'<td class="word">{layer.layer}</td>' in page) == (layer.cycles > 0)


def test_the_only_row_of_a_wide_summary_is_turned() -> None:
    product = simulator.run("sat", gemm(64, 64, 64))
    assert html_report._summary([product]).columns[:2] == ["accelerator", "method"]
    decoding = simulator.run("neupims", neupims.example())
    turned = html_report._summary([decoding])
    assert turned.columns == ["", ""]
    assert [row[0] for row in turned.rows][:3] == ["accelerator", "method", "time per layer"]
    assert html_report._summary([decoding, decoding]).columns[:2] == ["accelerator", "method"]


def test_one_pass_is_not_said_to_take_all_of_the_time(reports: list[Report]) -> None:
    product = simulator.run("sat", gemm(64, 64, 64))
    assert "Of its time" not in html_report.lead(product, product)
    assert "Of its time, " in html_report.lead(reports[0], reports[0])


def test_fields_are_written_as_they_are_set() -> None:
    values = [76.8e9, 1e9, 0.0, 1 / 3, 4 << 20, True, "os"]
    texts = [html_report._value(value) for value in values]
    assert texts == ["7.68e+10", "1e+09", "0", str(1 / 3), "4194304", "True", "os"]


def test_bars_of_one_layer_are_as_thick_as_those_of_many(reports: list[Report]) -> None:
    product = simulator.run("sat", gemm(64, 64, 64))
    heights = {
        name: plots.figures([report], report)["layers"].get_figheight()
        for name, report in (("one", product), ("many", reports[0]))
    }
    assert heights["one"] < heights["many"] / 2


def test_names_from_outside_are_escaped() -> None:
    report = simulator.run("sat", gemm(8, 8, 8, name="<script>alert(1)</script>"))
    assert "<script>" not in html_report.render([report], report)


def test_names_from_outside_are_no_formulas(reports: list[Report]) -> None:
    report = simulator.run("sat", gemm(8, 8, 8, name=r"$\frac$ _x"))
    assert plots.encode(plots.overview([report], report), "png").startswith(b"\x89PNG")
