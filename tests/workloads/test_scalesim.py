import dataclasses
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.strategies import conv_layers, gemm_layers, scale_sim_configurations
from workloads import DENSE, NM, Block, Conv2d, InputError, MatMul, Pass, Workload, gemm, networks
from workloads.lowering import lower_attention, lower_conv, lower_linear
from workloads.methods import bdwp, sdgp
from workloads.scalesim import (
    ScaleSimConfig,
    read_configuration,
    read_topology,
    write_configuration,
    write_topology,
)

CONV_HEADING = (
    "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, "
    "Strides,\n"
)
GEMM_HEADING = "Layer, M, N, K,\n"

same_directory = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60
)


def layers_with_own_names(products: list[MatMul]) -> Workload:
    renamed = tuple(
        dataclasses.replace(op, name=f"{op.layer}{i}", layer=f"{op.layer}{i}")
        for i, op in enumerate(products)
    )
    return Workload(name="drawn", operations=renamed)


def shapes(workload: Workload) -> list[tuple[object, ...]]:
    return [
        (op.batch, op.m, op.k, op.n, op.k_run, op.right.pattern, op.right.elements, op.out.elements)
        for op in workload.matmuls
    ]


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@same_directory
@given(st.lists(gemm_layers(), min_size=1, max_size=5))
def test_products_survive_a_gemm_topology(tmp_path: Path, products: list[MatMul]) -> None:
    workload = layers_with_own_names(products)
    write_topology(tmp_path / "t.csv", workload)
    again = read_topology(tmp_path / "t.csv")
    assert shapes(again) == shapes(workload)
    assert [op.layer for op in again.matmuls] == [op.layer for op in workload.matmuls]


@same_directory
@given(st.lists(conv_layers(), min_size=1, max_size=5))
def test_convolutions_survive_a_conv_topology(tmp_path: Path, products: list[MatMul]) -> None:
    workload = layers_with_own_names(products)
    write_topology(tmp_path / "t.csv", workload)
    again = read_topology(tmp_path / "t.csv")
    assert shapes(again) == shapes(workload)
    assert again.notes == ()


@same_directory
@given(st.lists(conv_layers() | gemm_layers(), min_size=1, max_size=4))
def test_a_written_topology_is_read_and_written_again_the_same(
    tmp_path: Path, products: list[MatMul]
) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    write_topology(first, layers_with_own_names(products), kind="conv")
    write_topology(second, read_topology(first), kind="conv")
    assert second.read_bytes() == first.read_bytes()


def test_every_line_ends_with_the_comma_that_scale_sim_needs(tmp_path: Path) -> None:
    write_topology(tmp_path / "t.csv", gemm(3, 4, 5, pattern=NM(2, 4)))
    assert (tmp_path / "t.csv").read_text() == "Layer, M, N, K, Sparsity,\ngemm, 3, 5, 4, 2:4,\n"


def test_resnet50_has_the_same_macs_after_a_visit(tmp_path: Path) -> None:
    inference = networks.resnet50(batch=1).inference()
    write_topology(tmp_path / "resnet50.csv", inference)
    again = read_topology(tmp_path / "resnet50.csv")
    assert again.macs == inference.macs
    assert again.name == "resnet50"
    assert again.notes == ()


def test_a_training_step_is_written_as_products(tmp_path: Path) -> None:
    step = bdwp(2, 8)(networks.resnet9(batch=2).training_step())
    write_topology(tmp_path / "t.csv", step, kind="gemm")
    again = read_topology(tmp_path / "t.csv")
    assert again.macs == step.macs
    assert again.kept_macs == step.kept_macs


def test_the_first_stem_of_the_published_example_is_read(tmp_path: Path) -> None:
    row = "Conv1, 224, 224, 11, 11, 3, 96, 4,\n"
    workload = read_topology(written(tmp_path / "alexnet.csv", CONV_HEADING + row))
    (op,) = workload.matmuls
    out = (224 - 11) // 4 + 1
    assert (op.m, op.k, op.n, op.k_run) == (out * out, 3 * 11 * 11, 96, 3)
    up = -(-(224 - 11) // 4) + 1
    assert workload.notes == (
        f"{tmp_path / 'alexnet.csv'}, line 2: Conv1 has {out} x {out} output positions; SCALE-Sim "
        f"counts {up} x {up}, since it rounds up",
    )


def test_gemm_columns_come_as_m_n_k(tmp_path: Path) -> None:
    (op,) = read_topology(written(tmp_path / "t.csv", GEMM_HEADING + "a, 2, 3, 4,\n")).matmuls
    assert (op.m, op.n, op.k) == (2, 3, 4)


def test_dp_in_a_name_means_depthwise(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", CONV_HEADING + "Conv2DP, 9, 9, 3, 3, 32, 2, 1,\n")
    (op,) = read_topology(path).matmuls
    assert (op.batch, op.m, op.k, op.n) == (32, 7 * 7, 9, 2)


def test_the_last_comma_may_be_missing_and_lines_may_be_blank(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", GEMM_HEADING + "\na, 2, 3, 4\r\n\n  b,5,6,7,\n")
    assert [op.layer for op in read_topology(path).matmuls] == ["a", "b"]


def test_layers_of_the_same_name_are_numbered(tmp_path: Path) -> None:
    rows = "".join(f"{name}, 2, 3, 4,\n" for name in ("a", "a#2", "a", "a"))
    path = written(tmp_path / "t.csv", GEMM_HEADING + rows)
    assert [op.layer for op in read_topology(path).matmuls] == ["a", "a#2", "a#3", "a#4"]


@pytest.mark.parametrize("text", ["", "1:1", "4:4", " 8 : 8 "])
def test_n_of_n_is_dense(tmp_path: Path, text: str) -> None:
    path = written(tmp_path / "t.csv", f"{GEMM_HEADING}a, 2, 3, 4, {text},\n")
    assert read_topology(path).matmuls[0].right.pattern == DENSE


COLUMNS = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "topology {path} must have a heading and layers; it is empty"),
        (GEMM_HEADING, "topology {path} must have a layer after its heading"),
        ("a, 2, 3, 4,\n", "{path}, line 1: a topology must begin with a heading, not with a layer"),
        (
            GEMM_HEADING + "\na, 2, 3,\n",
            f"{{path}}, line 3: a layer must have 8 columns ({COLUMNS}Num Filter, Strides) or 4 "
            "(Layer, M, N, K), and one more for sparsity, not 3",
        ),
        (
            GEMM_HEADING + "a, 2, 3, 4,\nb, 2, 3,\n",
            "{path}, line 3: a gemm layer must have the columns Layer, M, N, K and possibly "
            "Sparsity, not 3 columns",
        ),
        (
            GEMM_HEADING + "a, 2, x, 4,\n",
            "{path}, line 2: N must be a whole number of at least 1, not 'x'",
        ),
        (
            GEMM_HEADING + "a, 2, 3, 0,\n",
            "{path}, line 2: K must be a whole number of at least 1, not '0'",
        ),
        (
            GEMM_HEADING + "a, 2, 3, nan,\n",
            "{path}, line 2: K must be a whole number of at least 1, not 'nan'",
        ),
        (
            GEMM_HEADING + f"a, 2, 3, {10**30},\n",
            f"{{path}}, line 2: K must be a whole number of at least 1, not '{10**30}'",
        ),
        (GEMM_HEADING + ", 2, 3, 4,\n", "{path}, line 2: Layer must not be empty"),
        (
            GEMM_HEADING + "a, 2, 3, 4, 4:2,\n",
            "{path}, line 2: Sparsity must be N:M with 1 <= N <= M, as in 2:4, not '4:2'",
        ),
        (
            GEMM_HEADING + "a, 2, 3, 4, half,\n",
            "{path}, line 2: Sparsity must be N:M with 1 <= N <= M, as in 2:4, not 'half'",
        ),
        (
            CONV_HEADING + "a, 2, 2, 3, 3, 1, 1, 1,\n",
            "{path}, line 2: convolution kernel (3, 3) with dilation (1, 1) must fit into the "
            "padded input (2, 2)",
        ),
    ],
)
def test_a_wrong_topology_names_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path / "t.csv", text)
    with pytest.raises(InputError) as error:
        read_topology(path)
    assert str(error.value) == message.format(path=path)


def test_a_missing_topology_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read topology .*none\.csv: No such file"):
        read_topology(tmp_path / "none.csv")


def test_a_topology_is_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"Layer\xff")
    with pytest.raises(InputError, match="must be UTF-8 text: byte 5 is not"):
        read_topology(tmp_path / "t.csv")


BASE = {"batch": 1, "in_channels": 8, "out_channels": 8, "in_hw": (9, 9), "kernel": (3, 3)}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"batch": 2}, "it has batch 2; write it for batch 1 or as gemm"),
        ({"stride": (1, 2)}, "it has strides (1, 2); they must be equal"),
        ({"dilation": (2, 2)}, "it has dilation (2, 2); it must be 1"),
        ({"groups": 2}, "it has 2 groups; one, or one per channel, will"),
    ],
)
def test_what_scale_sim_cannot_express_is_refused(
    tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    conv = Conv2d(**(BASE | changes))  # type: ignore[arg-type]
    workload = Workload(name="w", operations=lower_conv("c", conv, Pass.FF))
    with pytest.raises(InputError) as error:
        write_topology(tmp_path / "t.csv", workload)
    assert str(error.value) == f"c.FF cannot be written as a conv topology: {reason}"
    assert list(tmp_path.iterdir()) == []


def test_batched_products_are_refused(tmp_path: Path) -> None:
    workload = Workload(name="w", operations=lower_attention("a", 2, 3, 4, 4, 4, Pass.FF))
    with pytest.raises(InputError, match=r"a\.scores\.FF must be a single product .* batch of 6"):
        write_topology(tmp_path / "t.csv", workload)


def test_other_patterns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be dense or N:M in its right operand"):
        write_topology(tmp_path / "t.csv", gemm(8, 8, 8, pattern=Block(4, 4, 0.5)))
    backward = sdgp(2, 4)(Workload(name="w", operations=lower_linear("l", 8, 8, 8, Pass.BP)))
    with pytest.raises(InputError, match="not 2:4 times dense"):
        write_topology(tmp_path / "t.csv", backward)


def test_a_workload_without_products_is_refused(tmp_path: Path) -> None:
    updates = networks.resnet9(batch=1).training_step().only(Pass.UP)
    with pytest.raises(InputError, match="must have a product to be written"):
        write_topology(tmp_path / "t.csv", updates)


@pytest.mark.parametrize("name", ["a,b", " a", "a\nb", ""])
def test_names_fit_into_a_column(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="must be printable, without commas or spaces around it"):
        write_topology(tmp_path / "t.csv", gemm(1, 2, 3, name=name))


def test_a_name_must_not_turn_a_layer_into_a_depthwise_one(tmp_path: Path) -> None:
    workload = Workload(name="w", operations=lower_conv("DPN", Conv2d(**BASE), Pass.FF))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="layer 'DPN' must be renamed"):
        write_topology(tmp_path / "t.csv", workload)


PUBLISHED_CONFIGURATION = """\
[general]
run_name = scale_example_run_32x32_os

[architecture_presets]
ArrayHeight:    32
ArrayWidth:     16
ifmapsramszkB:   64
FilterSramSzkB:  65
OfmapSramSzkB:   66
Bandwidth : 10, 20,30
Dataflow : os

# a comment
[run_presets]
InterfaceBandwidth: USER
"""


def test_a_configuration_is_read_with_defaults_for_what_it_leaves_out(tmp_path: Path) -> None:
    config = read_configuration(written(tmp_path / "scale.cfg", PUBLISHED_CONFIGURATION))
    assert config == ScaleSimConfig(
        run_name="scale_example_run_32x32_os",
        array_height=32,
        array_width=16,
        ifmap_sram_kb=64,
        filter_sram_kb=65,
        ofmap_sram_kb=66,
        bandwidths=(10, 20, 30),
        dataflow="os",
        interface_bandwidth="USER",
    )
    assert config.filter_offset == 10_000_000


@same_directory
@given(scale_sim_configurations())
def test_a_configuration_survives_its_file(tmp_path: Path, config: ScaleSimConfig) -> None:
    write_configuration(tmp_path / "scale.cfg", config)
    assert read_configuration(tmp_path / "scale.cfg") == config


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "ArrayHeight:    32",
            "ArrayHeight: many",
            "{path}, line 5: ArrayHeight must be a whole number of at least 1, not 'many'",
        ),
        (
            "ArrayHeight:    32",
            "ArayHeight: 32",
            "{path}, line 5: SCALE-Sim has no key 'ArayHeight' in [architecture_presets]",
        ),
        (
            "ArrayHeight:    32\n",
            "",
            "configuration {path} must have ArrayHeight in [architecture_presets]",
        ),
        (
            "Dataflow : os",
            "Dataflow : rs",
            "{path}, line 11: Dataflow must be one of os, ws, is, not 'rs'",
        ),
        (
            "10, 20,30",
            "10,,30",
            "{path}, line 10: Bandwidth must be a whole number of at least 1, not ''",
        ),
        ("ArrayWidth:     16", "ArrayHeight: 1", "{path}, line 6: ArrayHeight is given twice; "),
        ("[general]\n", "", "{path}, line 1: run_name must stand below a [section]"),
        ("# a comment", "what", "{path}, line 13: a line must be [section] or key = value, not "),
        (
            "InterfaceBandwidth: USER",
            "UseRamulatorTrace: maybe",
            "{path}, line 15: UseRamulatorTrace must be True or False, not 'maybe'",
        ),
        (
            "[run_presets]\nInterfaceBandwidth: USER",
            "[sparsity]\nOptimizedMapping: True\nBlockSize: 64",
            "configuration {path}: BlockSize must be at most ArrayHeight 32 with OptimizedMapping",
        ),
    ],
)
def test_a_wrong_configuration_names_file_and_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in PUBLISHED_CONFIGURATION
    path = written(tmp_path / "scale.cfg", PUBLISHED_CONFIGURATION.replace(old, new, 1))
    with pytest.raises(InputError) as error:
        read_configuration(path)
    assert str(error.value).startswith(message.format(path=path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"array_height": 0}, "ArrayHeight must be at least 1, not 0"),
        ({"bandwidths": ()}, "Bandwidth must have at least one number"),
        ({"bandwidths": (1, 0)}, r"Bandwidth must be at least 1, not \(1, 0\)"),
        ({"ifmap_offset": -1}, "IfmapOffset must be at least 0, not -1"),
        ({"run_name": "a\nb"}, "run_name must be printable text without spaces around it"),
    ],
)
def test_a_configuration_is_checked_when_made(changes: dict[str, object], message: str) -> None:
    good = ScaleSimConfig(
        array_height=8,
        array_width=8,
        ifmap_sram_kb=1,
        filter_sram_kb=1,
        ofmap_sram_kb=1,
        dataflow="ws",
    )
    with pytest.raises(InputError, match=message):
        dataclasses.replace(good, **changes)  # type: ignore[arg-type]
