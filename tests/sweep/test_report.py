"""The page of a study: its numbers, and in a headless browser what a reader sees and does."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simulator.accelerators import sat
from simulator.sweep import Study, export, report
from simulator.sweep.sensitivity import effects
from tests.sweep.browser import CHROMIUM, Page, chromium
from workloads import networks
from workloads.methods import bdwp


def study(**changes) -> Study:
    values = {
        "name": "arrays <b>",
        "networks": ["resnet9", "vit-32"],
        "batches": [8],
        "methods": ["dense", "bdwp:2:8"],
        "objectives": ["seconds", "pes"],
        "quantities": {"pes": "rows * cols"},
        "space": {"rows": [8, 16, 32], "cols": [8, 16, 32], "interleave": [2, 4]},
        **changes,
    }
    return Study(**values)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "study.html"
    made = study()
    with made.open(None) as store:
        made.run_into(store, workers=1)
        path.write_text(report.render(made.definition, store))
    return path


@pytest.fixture(scope="module")
def values(page_file) -> dict:
    found = re.search(r"const STUDY = (\{.*\});</script>", page_file.read_text())
    return json.loads(found[1])


def test_the_page_holds_every_point_and_marks_the_front(values) -> None:
    made = study()
    table = made.run(workers=1)
    rows = values["rows"]
    assert sorted(rows["cycles"]) == sorted(table.cycles)
    front = made.pareto(table)
    assert sum(values["front"]) == len(front)
    on_front = np.flatnonzero(values["front"])
    assert {(rows["point"][i], values["case"][i]) for i in on_front} == {
        (point, ["resnet9", "vit-32"].index(network))
        for point, network in zip(front.point, front.network, strict=True)
    }


def test_breakdowns_add_up_to_the_point(values) -> None:
    for place, found in enumerate(values["breakdowns"]):
        cycles = sum(sum(counts) for counts in found["cycles"].values())
        assert cycles == values["rows"]["cycles"][place]
        assert sum(found["bytes"]) == values["rows"]["dram_bytes"][place]
        energy = sum(found["energy_pj"].values()) * 1e-12
        assert energy == pytest.approx(values["rows"]["energy_j"][place])


def test_a_breakdown_is_that_of_simulate(values) -> None:
    rows = values["rows"]
    (place,) = (
        i
        for i, case in enumerate(values["case"])
        if (case, rows["method"][i], rows["rows"][i], rows["cols"][i], rows["interleave"][i])
        == (0, "bdwp:2:8", 16, 32, 4)
    )
    config = sat.Config(rows=16, cols=32)
    work = networks.find("resnet9", batch=8).training_step(bdwp(2, 8))
    expected = sat.simulate(config, sat.schedule(config, work)).frame()
    found = values["breakdowns"][place]
    assert found["peak_macs_per_s"] == 16 * 32 * 200e6
    for index, layer in enumerate(values["layers"][found["layers"]][:-1]):
        for name, counts in found["cycles"].items():
            chosen = (expected.layer == layer) & (expected["pass"] == name)
            assert counts[index] == expected.cycles[chosen].sum()


def test_names_cannot_break_out_of_the_page(page_file) -> None:
    text = page_file.read_text()
    assert "<title>arrays &lt;b&gt;</title>" in text
    assert "arrays <b>" not in text
    assert report._script_json({"a": "</script>"}) == '{"a":"\\u003c/script>"}'


def test_a_large_study_is_shown_by_its_front_and_a_sample(monkeypatch) -> None:
    monkeypatch.setattr(report, "SHOWN", 20)
    made = study()
    with made.open(None) as store:
        made.run_into(store, workers=1)
        front = export.front(store)
        found = report.page_values(made.definition, store)
        said = report._lead(made.definition, store, shown=len(found["case"]))
    assert sum(found["front"]) == len(front)
    assert len(front) <= len(found["case"]) < 72
    assert f"72 points of sat; {len(found['case'])} are shown, all of the front among" in said
    assert {e["parameter"] for e in found["sensitivity"]} == {
        "method",
        "rows",
        "cols",
        "interleave",
    }


def test_time_for_breakdowns_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(report, "BREAKDOWN_SECONDS", -1.0)
    made = study()
    with made.open(None) as store:
        made.run_into(store, workers=1)
        found = report.page_values(made.definition, store)
    assert set(found["breakdowns"]) == {None}


def test_points_that_failed_are_counted_and_left_out() -> None:
    made = study(space={"rows": [8, 32], "cols": {"derive": "rows * 200"}})
    with made.open(None) as store:
        made.run_into(store, workers=1)
        text = report.render(made.definition, store)
    assert "8 points of sat, 4 of them failed." in text


def test_sensitivity_is_the_share_of_the_variance() -> None:
    grid = pd.DataFrame([(a, b) for a in (1, 2, 4) for b in (1, 3)], columns=["a", "b"])
    grid["y"] = grid.a**2 * grid.b  # logarithms add: variances of 2 log a and of log b
    shares = {e.parameter: e.share for e in effects(grid, ["a", "b"], "y")}
    parts = np.var(2 * np.log([1, 2, 4])), np.var(np.log([1, 3]))
    assert shares == pytest.approx({"a": parts[0] / sum(parts), "b": parts[1] / sum(parts)})
    means = effects(grid, ["a", "b"], "y")[0].means
    assert means[1] / means[0] == pytest.approx(4)


def test_a_continuous_parameter_is_cut_into_bins() -> None:
    x = np.linspace(1, 11, 1001)
    (effect,) = effects(pd.DataFrame({"x": x, "y": x}), ["x"], "y")
    assert effect.levels == pytest.approx(np.arange(1.5, 11))
    assert effect.share > 0.97


if CHROMIUM:

    @pytest.fixture(scope="module")
    def browser(tmp_path_factory):
        with chromium(tmp_path_factory.mktemp("profile")) as opened:
            yield opened

    @pytest.fixture
    def page(browser, page_file):
        browser.load(page_file)
        browser.wait_for("document.querySelectorAll('#scatter .points path').length > 30")
        yield browser
        assert browser.problems == []
        # Nothing but the file itself and what it carries is asked for.
        inside = ("file:", "data:", "blob:")
        assert [url for url in browser.requested if not url.startswith(inside)] == []

    def design(page: Page, key: str) -> dict:
        place = page.value(f"state.{key}")
        names = ("cycles", "rows", "cols")
        return {name: page.value(f"STUDY.rows.{name}[{place}]") for name in names}

    def test_a_click_on_a_point_shows_its_breakdown(page) -> None:
        places = page.value("element('scatter').data[0].customdata")
        before = page.value("element('name-a').textContent")
        at = next(i for i, place in enumerate(places) if place != page.value("state.a"))
        dot = (
            f"document.querySelectorAll('#scatter .trace')[0].querySelectorAll('path.point')[{at}]"
        )
        page.click(*page.centre(dot))
        page.wait_for(f"element('name-a').textContent !== {json.dumps(before)}")
        shown = design(page, "a")
        assert f"rows {shown['rows']}, cols {shown['cols']}" in page.value(
            "element('name-a').textContent"
        )
        bars = page.value("element('layers').data.map((bar) => bar.y)")
        clock_hz = sat.Config().clock_hz
        assert sum(map(sum, bars)) == pytest.approx(shown["cycles"] / clock_hz)
        drawn = page.value("document.querySelectorAll('#layers .bars path').length")
        assert drawn > 20
        assert page.value("document.querySelectorAll('#roofline .points path').length") > 5
        assert page.value("document.querySelectorAll('#energy .bars path').length") > 2

    def test_two_designs_are_compared(page) -> None:
        page.value("document.querySelector('input[value=b]').click()")
        page.click(*page.centre("document.querySelectorAll('#points tbody tr')[5].cells[0]"))
        a, b = design(page, "a"), design(page, "b")
        rows = page.value(
            "[...document.querySelectorAll('#comparison tbody tr')]"
            ".map((row) => [...row.cells].map((cell) => cell.textContent))"
        )
        found = {row[0]: row[1:] for row in rows}
        assert found["rows"][:2] == [str(a["rows"]), str(b["rows"])]
        ratio = float(found["cycles"][2].removesuffix("x"))
        assert ratio == pytest.approx(b["cycles"] / a["cycles"], rel=1e-3)
        assert page.value("element('difference').data.length") == 2

    def test_brushing_the_points_filters_table_and_parallel_coordinates(page) -> None:
        box = page.value(
            "(() => { element('scatter').scrollIntoView({block: 'center'});"
            " const b = document.querySelector('#scatter .nsewdrag').getBoundingClientRect();"
            " return [b.left, b.top, b.width, b.height] })()"
        )
        left, top, width, height = box
        page.drag((left + 2, top + 2), (left + width / 2, top + height - 2))
        page.wait_for("state.brushed !== null")
        brushed = page.value("[...state.brushed]")
        everything = page.value("points()")
        assert 0 < len(brushed) < len(everything)
        x = page.value("STUDY.rows[chosen('x')]")
        limit = max(x[i] for i in brushed)
        assert all(i in brushed for i in everything if x[i] < limit)
        assert page.value("document.querySelectorAll('#points tbody tr').length") == len(brushed)
        assert page.value("element('parallel').data[0].dimensions[0].values.length") == len(brushed)
        page.click(*page.centre("element('all')"))
        page.wait_for("state.brushed === null")
        rows = page.value("document.querySelectorAll('#points tbody tr').length")
        assert rows == len(everything)

    def test_brushing_an_axis_filters_the_table(page) -> None:
        page.value(
            "Plotly.restyle('parallel', {'dimensions[1].constraintrange': [[[15, 40]]]}, [0])"
            ".then(() => true)"
        )
        page.wait_for("state.brushed !== null")
        assert page.value(
            "shownPoints().every((i) => STUDY.rows[element('parallel').shown.names[1]][i] >= 15)"
        )
        assert 0 < page.value("shownPoints().length") < page.value("points().length")

    def test_an_axis_that_is_freed_keeps_the_brush_of_the_points(page) -> None:
        page.value("brush(new Set(points().slice(0, 10)))")
        for limits, left in (("[[15, 40]]", "< 10"), ("null", "=== 10")):
            page.value(
                f"Plotly.restyle('parallel', {{'dimensions[1].constraintrange': [{limits}]}}, [0])"
                ".then(() => true)"
            )
            page.wait_for(f"state.brushed !== null && state.brushed.size {left}")

    def test_choices_redraw_everything(page) -> None:
        page.value("element('case').value = '1'; changeCase()")
        assert page.value("points().every((i) => STUDY.case[i] === 1)")
        page.value("element('log').checked || element('log').click()")
        page.value("drawScatter()")
        assert page.value("element('scatter').layout.xaxis.type") == "log"
        for colour in ("", "method", "rows"):
            page.value(f"element('colour').value = '{colour}'; drawScatter()")
        page.value("element('objective').value = 'pes'; drawSensitivity()")
        assert page.value("element('shares').data[0].y.length") == 4
        page.value("document.querySelectorAll('#points th')[1].click()")
        page.value("document.querySelectorAll('#points th')[1].click()")
        assert page.value("state.descending")

    def test_the_design_at_first_has_the_best_product_of_the_objectives(page) -> None:
        page.value("element('case').value = '0'; changeCase()")
        products = [
            (page.value(f"STUDY.rows.seconds[{i}] * STUDY.rows.pes[{i}]"), i)
            for i in page.value("points().filter((i) => STUDY.front[i])")
        ]
        assert len(products) > 3
        assert page.value("state.a") == min(products)[1]

    @pytest.mark.parametrize("width", [1400, 800])
    @pytest.mark.parametrize("colour", ["method", "rows"])
    def test_buttons_legend_and_points_do_not_overlap(page, width: int, colour: str) -> None:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        page.call("Emulation.setDeviceMetricsOverride", **size)
        page.value(f"element('colour').value = '{colour}'; drawScatter()")
        page.value("new Promise((done) => setTimeout(done, 300))")
        parts = {
            name: page.value(
                f"(({{left, top, right, bottom}}) => [left, top, right, bottom])"
                f"(document.querySelector('#scatter {name}').getBoundingClientRect())"
            )
            for name in (".modebar-container .modebar", ".legend", ".nsewdrag", ".xtitle")
        }
        for (one, a), (other, b) in itertools.combinations(parts.items(), 2):
            apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
            assert apart, (one, a, other, b)
        page.call("Emulation.clearDeviceMetricsOverride")

    def test_the_front_of_three_objectives_is_a_line_that_only_falls(browser, tmp_path) -> None:
        made, path = study(objectives=["seconds", "energy_j", "pes"]), tmp_path / "three.html"
        with made.open(None) as store:
            made.run_into(store, workers=1)
            path.write_text(report.render(made.definition, store))
        browser.load(path)
        browser.wait_for("document.querySelectorAll('#scatter .points path').length > 30")
        line = "element('scatter').data.find((trace) => trace.mode === 'lines')"
        assert browser.value(f"{line}.name") == "front of seconds and energy_j"
        places = browser.value(f"{line}.customdata")
        seconds, energy = (browser.value(f"STUDY.rows.{n}") for n in ("seconds", "energy_j"))
        everything = browser.value("points()")
        assert places == sorted(places, key=lambda i: seconds[i])
        unbeaten = {
            i
            for i in everything
            if not any(
                (seconds[j], energy[j]) != (seconds[i], energy[i])
                and seconds[j] <= seconds[i]
                and energy[j] <= energy[i]
                for j in everything
            )
        }
        drawn = {(seconds[i], energy[i]) for i in places}
        assert drawn == {(seconds[i], energy[i]) for i in unbeaten}
        assert len(unbeaten) < sum(
            browser.value("STUDY.front.filter((_, i) => STUDY.case[i] === 0)")
        )
        assert browser.value("frontOf(points(), 'rows', 'seconds')") == []


def test_a_field_of_one_accelerator_leaves_no_hole_in_the_page(tmp_path: Path) -> None:
    """Its effect is that among the points that have it."""
    buffers = {"out_buffer_bytes": [1 << 16, 1 << 22]}
    two = Study(
        accelerators=["sat", "systolic"],
        networks=["resnet9"],
        batches=[2],
        space={"rows": [8, 16], "sat": buffers},
    )
    with two.executed(None, workers=1) as store:
        values = report.page_values(two.definition, store)
    json.dumps(values, allow_nan=False)
    levels = {each["parameter"]: each["levels"] for each in values["sensitivity"]}
    assert levels["out_buffer_bytes"] == buffers["out_buffer_bytes"]
