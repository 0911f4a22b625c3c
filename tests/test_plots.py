"""Plots and tables of a report: nothing lost, nothing overlapping, the same file every time."""

import itertools
import re

import pytest

import simulator
from simulator import breakdown, html_report, plots
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


def test_no_text_of_a_plot_lies_on_another(reports: list[Report]) -> None:
    for name, figure in plots.figures(reports, reports[1]).items():
        figure.draw_without_rendering()
        (axes,) = figure.axes
        for axis in (axes.xaxis, axes.yaxis):
            labels = [label for label in axis.get_ticklabels() if label.get_text()]
            boxes = [label.get_window_extent() for label in labels]
            for one, other in itertools.pairwise(boxes):
                assert not one.overlaps(other), name
        texts = [text.get_window_extent() for text in axes.texts] + [
            axes.get_legend().get_window_extent()
        ]
        for one, other in itertools.combinations(texts, 2):
            assert not one.overlaps(other), name
        for bar in axes.patches:
            assert not axes.get_legend().get_window_extent().overlaps(bar.get_window_extent())


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
        assert (f"<td>{layer.layer}</td>" in page.replace(' class=""', "")) == (layer.cycles > 0)


def test_names_from_outside_are_escaped() -> None:
    report = simulator.run("sat", gemm(8, 8, 8, name="<script>alert(1)</script>"))
    assert "<script>" not in html_report.render([report], report)


def test_names_from_outside_are_no_formulas(reports: list[Report]) -> None:
    report = simulator.run("sat", gemm(8, 8, 8, name=r"$\frac$ _x"))
    assert plots.encode(plots.overview([report], report), "png").startswith(b"\x89PNG")
