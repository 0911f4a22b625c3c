"""What every accelerator holds to; a new module in `simulator.accelerators` is tested by itself."""

import dataclasses
import re
from typing import Literal, get_origin, get_type_hints

import numpy as np
import pytest

from simulator import accelerators
from simulator.area import area_mm2
from simulator.configuration import describe, override
from simulator.glossary import GLOSSARY
from simulator.report import Report, config_values
from workloads import InputError, Workload, methods
from workloads.layers import Conv, Linear
from workloads.network import Network

EVERY = pytest.mark.parametrize("name", accelerators.names())


def small_step() -> Workload:
    """Two convolutions and a classifier, dense in the first and last layer, BDWP between."""
    shape = {"in_hw": (8, 8), "kernel": 3, "padding": 1}
    network = Network(
        name="small",
        source="this test",
        input="3x8x8 image",
        batch=2,
        layers=(
            Conv(name="first", in_channels=3, out_channels=16, **shape),
            Conv(name="inner", in_channels=16, out_channels=32, **shape),
            Linear(name="fc", in_features=2048, out_features=10, classifier=True),
        ),
    )
    return network.training_step(methods.bdwp(2, 8))


def example(model: object) -> Workload:
    own = getattr(model, "example", None)
    return small_step() if own is None else own()


def simulate(name: str, **settings) -> Report:
    model = accelerators.find(name)
    config = model.Config(**settings)
    return model.simulate(config, model.schedule(config, example(model)))


@EVERY
def test_config_is_frozen_and_round_trips_through_text(name: str) -> None:
    config = accelerators.find(name).Config()
    assert dataclasses.is_dataclass(config)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, dataclasses.fields(config)[0].name, 1)
    texts = {field: str(value) for field, value in config_values(config).items()}
    assert override(type(config)(), texts) == config


@EVERY
def test_every_config_field_says_what_it_means(name: str) -> None:
    silent = [f.name for f in describe(accelerators.find(name).Config) if not f.meaning]
    assert silent == []


@EVERY
def test_every_number_of_the_config_is_checked(name: str) -> None:
    config_class = accelerators.find(name).Config
    for field in dataclasses.fields(config_class):
        if isinstance(field.default, (int, float)) and not isinstance(field.default, bool):
            for wrong in (-1, float("nan")):
                with pytest.raises(InputError, match=field.name):
                    config_class(**{field.name: wrong})


@EVERY
def test_every_choice_of_the_config_is_checked(name: str) -> None:
    config_class = accelerators.find(name).Config
    for field, kind in get_type_hints(config_class).items():
        if get_origin(kind) is Literal:
            with pytest.raises(InputError, match=f"^{field} must be one of .*, not 'neither'$"):
                config_class(**{field: "neither"})


@EVERY
def test_the_same_inputs_give_the_same_report(name: str) -> None:
    assert simulate(name).as_dict() == simulate(name).as_dict()


@EVERY
def test_the_workload_is_left_as_it_was(name: str) -> None:
    model = accelerators.find(name)
    workload, config = example(model), model.Config()
    model.simulate(config, model.schedule(config, workload))
    assert workload == example(model)


@EVERY
def test_a_plan_gives_the_same_report_twice(name: str) -> None:
    model = accelerators.find(name)
    config = model.Config()
    plan = model.schedule(config, example(model))
    assert model.simulate(config, plan).as_dict() == model.simulate(config, plan).as_dict()


@pytest.mark.parametrize(
    ("name", "field"),
    [("sat", "stationarity"), *((name, "products") for name in ("systolic", "tensorcore", "gpu"))],
)
def test_a_plan_decides_on_every_product_once(name: str, field: str) -> None:
    model = accelerators.find(name)
    plan = model.schedule(model.Config(), example(model))
    decided = getattr(plan, field)
    for wrong in (decided[1:], (*decided, decided[0])):
        message = f"plan must decide on {len(decided)} products, not on {len(wrong)}"
        with pytest.raises(InputError, match=message):
            dataclasses.replace(plan, **{field: wrong})


@EVERY
def test_numbers_do_not_contradict_each_other(name: str) -> None:
    report = simulate(name)
    columns = {key: np.asarray(column) for key, column in report.columns.items()}
    assert report.cycles > 0
    assert report.useful_macs > 0
    assert (columns["compute_cycles"] <= columns["cycles"]).all()
    assert (columns["useful_macs"] <= columns["issued_macs"]).all()
    assert (columns["issued_macs"] <= columns["compute_cycles"] * report.peak_macs_per_cycle).all()
    assert (columns["dram_bytes"] >= columns["compulsory_bytes"]).all()
    assert 0 < report.utilisation <= 1


@EVERY
def test_cycles_bytes_and_macs_are_whole(name: str) -> None:
    report = simulate(name)
    for key, column in report.columns.items():
        if key.endswith(("cycles", "bytes", "macs")) or key in ("m", "k", "n", "batch"):
            assert np.issubdtype(np.asarray(column).dtype, np.integer), key


@EVERY
def test_energy_of_the_operations_adds_up(name: str) -> None:
    report = simulate(name)
    if "energy_pj" in report.columns:
        total = float(np.sum(report.columns["energy_pj"]))
        assert total == pytest.approx(sum(report.energy_pj.values()))


@EVERY
def test_every_key_of_the_report_has_a_definition(name: str) -> None:
    values = simulate(name).as_dict()
    keys = {*values, *values["operations"][0], *values["config"]} - {
        field.name for field in describe(accelerators.find(name).Config)
    }
    assert keys <= set(GLOSSARY)


@EVERY
def test_more_hardware_is_never_slower_where_that_is_claimed(name: str) -> None:
    model = accelerators.find(name)
    for field in getattr(model, "NEVER_SLOWER_WITH", ()):
        default = getattr(model.Config(), field)
        sizes = [default // 64, default // 8, default, 8 * default]
        seconds = [simulate(name, **{field: size}).seconds for size in sizes if size >= 1]
        assert seconds == sorted(seconds, reverse=True), field


@EVERY
def test_the_area_is_positive_and_grows_with_the_units(name: str) -> None:
    model = accelerators.find(name)
    text = getattr(model, "QUANTITIES", {}).get("area_mm2", "")
    config = model.Config()
    for field in [f.name for f in dataclasses.fields(config) if re.search(rf"\b{f.name}\b", text)]:
        if field != "value_bits":
            more = dataclasses.replace(config, **{field: 2 * getattr(config, field)})
            assert area_mm2(more, text) > area_mm2(config, text) > 0, field


@EVERY
def test_a_switch_of_the_config_is_true_or_false(name: str) -> None:
    config_class = accelerators.find(name).Config
    for field, kind in get_type_hints(config_class).items():
        if kind is bool:
            with pytest.raises(InputError, match=f"^{field} must be true or false, not 'off'$"):
                config_class(**{field: "off"})
