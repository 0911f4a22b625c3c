"""The NPU with PIM: what both presets count, what scales, and what is refused."""

import itertools
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from dataflow.dram_timing import HBM2, MEMORIES
from simulator import breakdown, decoding, timeline
from simulator.accelerators import gpu, neupims
from simulator.accelerators.neupims import model, stepped
from simulator.accelerators.neupims.config import weight_bits
from simulator.collectives import Link, all_reduce_seconds
from simulator.dram import energy
from simulator.energy import FP16_MULTIPLY_PJ, FP32_ADD_PJ, sram_byte_pj
from workloads.errors import InputError
from workloads.llm import DECODERS, RequestBatch
from workloads.llm.requests import warm_batch
from workloads.rounding import ceil_div

SYSTEMS = ("npu-only", "npu-pim", "neupims")
FEW = RequestBatch(name="few", lengths=(40, 700, 96, 33, 513, 5), channels=(0, 1, 1, 3, 2, 3))
SMALL = {"channels": 4, "tensor_parallel": 8}


def run(batch=FEW, **settings):
    config = neupims.Config(**{**SMALL, **settings})
    return neupims.simulate(config, neupims.schedule(config, batch))


def published(batch=FEW, **settings):
    return run(batch, preset="published-simulator", **settings)


def expected_counts(lengths, heads: int) -> dict[str, int]:
    """Return the PIM commands that follow from the layout: four query heads fill a row of keys."""
    key_chunks = ceil_div(heads * 128, 512)
    k_tiles = sum(key_chunks * ceil_div(length, 32) for length in lengths)
    pieces = [min(512, length - at) for length in lengths for at in range(0, length, 512)]
    v_tiles = 4 * heads * len(pieces)
    return {
        "GWRITE": sum(key_chunks + heads * ceil_div(length, 512) for length in lengths),
        "READRES": heads * k_tiles // key_chunks + v_tiles,
        "COMP": 8 * heads * k_tiles // key_chunks
        + 4 * heads * sum(ceil_div(piece, 16) for piece in pieces),
        "G_ACT": 8 * (k_tiles + v_tiles),
    }


@pytest.mark.parametrize("preset", ["paper", "published-simulator"])
@pytest.mark.parametrize(
    ("system", "sub_batch"), [("npu-pim", "off"), ("neupims", "off"), ("neupims", "on")]
)
def test_pim_commands_follow_from_the_lengths(preset, system, sub_batch) -> None:
    report = run(preset=preset, system=system, sub_batch=sub_batch, refresh=False)
    layers = 2 if sub_batch == "on" else 1
    for name, count in expected_counts(FEW.lengths, heads=4).items():
        assert report.extra["commands"][name] == layers * count, name


def test_channels_may_run_ahead_of_the_core() -> None:
    short = RequestBatch(name="short", lengths=(40, 96, 33), channels=(0, 1, 1))
    for system, sub_batch in (("npu-only", "off"), ("npu-pim", "off"), ("neupims", "on")):
        config = neupims.Config(
            preset="published-simulator",
            system=system,
            sub_batch=sub_batch,
            channels=8,
            tensor_parallel=32,
        )
        plan = neupims.schedule(config, short)
        assert stepped.run(config, plan, lead=0) == stepped.run(config, plan)


def test_a_stage_ends_with_its_slower_side() -> None:
    report = run(sub_batch="on")
    operators = report.extra["operators"]
    for stage, clocks in report.extra["stages"].items():
        sides = [0, 0]
        for name, cycles in operators.items():
            if name.startswith(f"{stage}."):
                sides["NeuPIMS" in name] += cycles
        assert clocks >= max(sides)
    assert report.extra["cycles_per_layer"] == sum(report.extra["stages"][s] for s in "CD")


@pytest.mark.parametrize("system", SYSTEMS)
def test_more_channels_are_never_slower(system) -> None:
    batch = warm_batch("sharegpt", 32, np.random.default_rng(1))
    clocks = [
        run(batch, system=system, channels=n).extra["cycles_per_layer"] for n in (8, 16, 32, 64)
    ]
    assert clocks == sorted(clocks, reverse=True)


def test_sub_batches_start_at_256_requests() -> None:
    for count, split in ((255, False), (256, True)):
        batch = warm_batch("alpaca", count, np.random.default_rng(0))
        config = neupims.Config()
        assert neupims.schedule(config, batch).split is split
        assert not neupims.schedule(replace(config, system="npu-pim"), batch).split


def test_shared_keys_are_multiplied_with_every_query_head() -> None:
    plain = run(model="llama2-70b", channels=32)
    decoder = DECODERS["llama2-70b"]
    assert (decoder.heads, decoder.kv_heads) == (64, 8)
    tiles = sum(ceil_div(length, 32) for length in FEW.lengths)
    pieces = sum(ceil_div(length, 512) for length in FEW.lengths)
    assert plain.extra["commands"]["G_ACT"] == 8 * 8 * (tiles + 4 * pieces)


@pytest.mark.parametrize(
    ("weights", "bits"), [("dense", 16), ("2:4", 9), ("1:8", 19 / 8), ("q4g128", 4.125)]
)
def test_held_weights_take_their_bits(weights, bits) -> None:
    assert float(weight_bits(weights)) == bits
    dense, held = run(), run(weights=weights)
    weight_bytes = sum(
        2 * op.depth * op.columns
        for stage in neupims.schedule(neupims.Config(**SMALL), FEW).stages
        for op in stage.npu
        if hasattr(op, "depth")
    )
    saved = 64 * (dense.extra["commands"]["RD"] - held.extra["commands"]["RD"])
    assert saved == pytest.approx(weight_bytes * (1 - bits / 16), abs=64 * 8)


@pytest.mark.parametrize("preset", ["paper", "published-simulator"])
@pytest.mark.parametrize(
    ("system", "sub_batch"),
    [("npu-only", "off"), ("npu-pim", "off"), ("neupims", "off"), ("neupims", "on")],
)
def test_bytes_are_those_of_the_commands(preset, system, sub_batch) -> None:
    """Every access and every answer of the PIM is one burst of 64 bytes.

    In the stepped preset writes of the last operator still wait in their buffers when it ends.
    """
    report = run(preset=preset, system=system, sub_batch=sub_batch)
    commands = report.extra["commands"]
    moved = 64 * (commands["RD"] + commands["WR"] + commands.get("READRES", 0))
    last_written = 2 * report.columns["m"][-1] * 4096 if preset != "paper" else 0
    assert moved <= report.dram_bytes <= moved + last_written


@pytest.mark.parametrize("weights", ["2:4", "1:8", "q4g128"])
def test_held_weights_and_whole_results_are_what_moves(weights) -> None:
    dense, held = run(), run(weights=weights)
    assert held.dram_bytes < dense.dram_bytes
    assert held.extra["dram_bytes_per_layer"] < dense.extra["dram_bytes_per_layer"]
    products = [i for i, kind in enumerate(held.columns["kind"]) if kind == "linear"]
    for i in products:
        rows, depth, columns = (held.columns[name][i] for name in "mkn")
        once = depth * columns * float(weight_bits(weights)) / 8 + 2 * rows * (depth + columns)
        assert held.columns["compulsory_bytes"][i] == pytest.approx(once, abs=1)
        assert once <= held.columns["dram_bytes"][i] < once + 2 * 64


def test_an_all_reduce_follows_the_ring() -> None:
    report = run(link_bytes_per_s=100e9)
    link = Link(bytes_per_s=100e9, latency_s=0)
    clocks = 1e9 * all_reduce_seconds(link, 8, 2 * len(FEW.lengths) * 4096)
    for name in ("attn.allreduce", "ffn.allreduce"):
        assert report.extra["operators"][name] == np.ceil(clocks)
    without = run().extra["cycles_per_layer"]
    assert report.extra["cycles_per_layer"] == without + 2 * np.ceil(clocks)
    assert report.columns["kind"].count("all-reduce") == 2


def test_the_output_layer_counts_once() -> None:
    plain, longer = run(), run(output_layer=True)
    assert longer.extra["cycles_per_layer"] == plain.extra["cycles_per_layer"]
    tokens = len(FEW.lengths) / longer.extra["tokens_per_s"]
    seconds = 32 * plain.extra["cycles_per_layer"] + longer.extra["stages"]["output"]
    assert tokens == pytest.approx(seconds / 1e9)


def headline_follows(report, requests: int) -> None:
    """Assert how the keys of the headline follow from each other, for a decoder without output."""
    found, layers = report.extra, report.config.decoder.layers
    seconds = found["cycles_per_layer"] / report.clock_hz
    assert found["time_per_layer_s"] == pytest.approx(seconds)
    assert found["time_per_iteration_s"] == pytest.approx(layers * seconds)
    assert found["tokens_per_s"] * found["time_per_iteration_s"] == pytest.approx(requests)
    iteration_j = requests * found["energy_per_token_j"]
    assert iteration_j == pytest.approx(layers * found["energy_per_layer_j"])


def test_systems_are_compared_by_one_layer_and_one_iteration() -> None:
    batch = warm_batch("sharegpt", 256, np.random.default_rng(0))
    reports = {s: run(batch, system=s, tensor_parallel=4, channels=32) for s in SYSTEMS}
    config = gpu.Config(model="gpt3-7b", tensor_parallel=4)
    reports["gpu"] = gpu.simulate(config, gpu.schedule(config, batch))
    for name, report in reports.items():
        headline_follows(report, 256)
        assert tuple(report.summary())[3:10] == decoding.HEADLINE
        simulated = 2 if name == "neupims" else 1
        assert report.extra["dram_bytes_per_layer"] * simulated == 4 * report.dram_bytes
        if simulated == 1:
            assert report.extra["energy_per_layer_j"] == pytest.approx(4 * report.energy_j)
            assert report.extra["time_per_layer_s"] == report.seconds
    assert breakdown.overlap(reports["neupims"]).endswith("of work that overlaps in 538 µs")
    assert not breakdown.overlap(reports["npu-pim"])


@pytest.mark.parametrize("preset", ["paper", "published-simulator"])
def test_a_layer_of_sub_batches_costs_what_its_two_stages_do(preset) -> None:
    """A run of the stages C and D alone has the energy and bytes that half of all six have."""
    config = neupims.Config(**SMALL, preset=preset, sub_batch="on")
    plan = neupims.schedule(config, FEW)
    found = neupims.simulate(config, plan)
    repeated = tuple(stage for stage in plan.stages if stage.name in "CD")
    alone = neupims.simulate(config, replace(plan, stages=repeated))
    headline_follows(found, len(FEW.lengths))
    exact = 0 if preset == "paper" else 1e-3  # transfers begin within a line, here and there
    assert found.extra["dram_bytes_per_layer"] == pytest.approx(8 * alone.dram_bytes, rel=exact)
    assert found.extra["energy_per_layer_j"] == pytest.approx(8 * alone.energy_j, rel=0.01)


def test_the_output_layer_adds_its_energy_once() -> None:
    plain, longer = run().extra, run(output_layer=True).extra
    for name in ("time_per_layer_s", "energy_per_layer_j", "dram_bytes_per_layer"):
        assert longer[name] == plain[name]
    added = len(FEW.lengths) * (longer["energy_per_token_j"] - plain["energy_per_token_j"])
    macs = len(FEW.lengths) * 4096 * DECODERS["gpt3-7b"].vocabulary
    assert added > macs * (FP16_MULTIPLY_PJ + FP32_ADD_PJ) * 1e-12
    assert added < plain["energy_per_layer_j"]


@pytest.mark.parametrize("size", [1 << 17, 1 << 20, 1 << 24])
def test_every_byte_of_the_npu_is_written_to_a_scratchpad_of_the_given_size_and_read(size) -> None:
    report = run(scratchpad_bytes=size)
    rows = zip(report.columns["resource"], report.columns["dram_bytes"], strict=True)
    moved = sum(each for resource, each in rows if resource != "pim")
    assert report.energy_pj["npu scratchpads"] == pytest.approx(2 * moved * sram_byte_pj(size))


def test_the_timeline_fills_a_lane_for_each_unit() -> None:
    batch = warm_batch("sharegpt", 256, np.random.default_rng(0))
    report = run(batch, channels=32, tensor_parallel=4)
    spans = list(timeline.spans(report))
    assert {span.lane for span in spans} == {"array", "vector", "pim", "memory"}
    starts = dict(zip(report.columns["name"], report.columns["start_cycles"], strict=True))
    assert starts["B.attn.NeuPIMSLogitSoftmax"] == report.extra["stages"]["A"]
    for lane in ("array", "pim"):
        own = sorted((span.start, span.start + span.cycles) for span in spans if span.lane == lane)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(own))


def test_energy_of_a_command_is_current_times_voltage_times_time() -> None:
    pj = energy.command_pj(HBM2, energy.HBM2_CURRENTS)
    activate = 1.2 * (65 * 48 - (55 * 34 + 40 * 14))
    assert pj["ACT"] == pytest.approx(activate)
    assert pj["G_ACT"] == pytest.approx(4 * activate)
    wide = energy.command_pj(replace(HBM2, banks=8), energy.HBM2_CURRENTS)
    assert wide["G_ACT"] == pytest.approx(8 * activate)
    read = 1.2 * (390 - 55) * 2
    assert pj["RD"] == pytest.approx(read)
    assert pj["COMP"] == pytest.approx(4 * read)
    assert pj["GWRITE"] == pytest.approx(16 * read)
    assert pj["REF"] == pytest.approx(1.2 * (250 - 55) * 260)


def test_the_energy_of_the_memory_goes_with_the_time_of_its_clocks() -> None:
    plain, fast = run(), run(clock_hz=2e9)
    assert fast.cycles == plain.cycles
    for name, pj in plain.energy_pj.items():
        share = 0.5 if name.startswith("dram") else 1
        assert fast.energy_pj[name] == pytest.approx(share * pj), name


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_rank_stands_by_with_a_row_open_while_its_buffers_are_in_use(system: str) -> None:
    """With one row buffer PIM and accesses open rows in the same one; a second one adds its own."""
    report = run(system=system)
    counts, ranks = report.extra["commands"], HBM2.ranks
    every = ranks * SMALL["channels"] * report.cycles
    accesses = ranks * HBM2.burst * (counts["RD"] + counts["WR"])
    pim = report.extra["pim_utilisation"] * every
    buffers = {"npu-only": [accesses], "npu-pim": [accesses + pim], "neupims": [accesses, pim]}
    expected = sum(1.2 * (55 * active + 40 * (every - active)) for active in buffers[system])
    assert report.energy_pj["dram standby"] == pytest.approx(expected)


@pytest.mark.parametrize("memory", MEMORIES)
def test_a_report_says_whose_currents_its_energy_rests_on(memory: str) -> None:
    notes = run(memory=memory, channels=32).notes[1:]
    borrowed = (f"energy of the DRAM rests on the currents of HBM2, not of {memory}",)
    assert notes == (() if memory == "hbm2" else borrowed)


@pytest.mark.parametrize("system", SYSTEMS)
def test_scratchpads_are_charged_by_what_a_row_is_not_by_what_bounds_it(
    system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run(system=system)
    row = model._row
    monkeypatch.setattr(model, "_row", lambda *given: row(*given) | {"bottleneck": "pim"})
    bound = run(system=system)
    assert set(bound.columns["bottleneck"]) == {"pim"} != set(plain.columns["bottleneck"])
    assert bound.energy_pj == plain.energy_pj
    moved = zip(plain.columns["resource"], plain.columns["dram_bytes"], strict=True)
    on_npu = sum(int(moved_bytes) for resource, moved_bytes in moved if resource != "pim")
    through = 2 * on_npu * sram_byte_pj(neupims.Config().scratchpad_bytes)
    assert plain.energy_pj["npu scratchpads"] == pytest.approx(through)


@pytest.mark.parametrize("tokens", [2_000_000, 10**24])
def test_a_request_longer_than_the_cache_is_refused(tokens: int) -> None:
    long = RequestBatch(name="long", lengths=(10, tokens), channels=(0, 3))
    message = (
        rf"long, request 2 \(line 3 of a trace\): {tokens} tokens do not fit into channel 3, whose "
        r"cache has room for \d+ tiles, not \d+; give the channel fewer or shorter requests"
    )
    with pytest.raises(InputError, match=message):
        neupims.schedule(neupims.Config(), long)


@pytest.mark.parametrize("channel", [-1, 32])
def test_a_request_on_a_channel_that_the_device_lacks_is_refused(channel: int) -> None:
    batch = RequestBatch(name="odd", lengths=(10, 20), channels=(0, channel))
    message = rf"odd, request 2 \(line 3 of a trace\): the channel must be 0 to 31, not {channel}"
    with pytest.raises(InputError, match=message):
        neupims.schedule(neupims.Config(), batch)


def test_a_trace_may_name_every_channel_of_the_device(tmp_path) -> None:
    (tmp_path / "wide.csv").write_text("seq_len,ch_idx\n40,63\n")
    batch = neupims.workload_from_options({"requests": (str(tmp_path / "wide.csv"),)})
    assert neupims.schedule(neupims.Config(channels=64), batch).channels_of == (63,)


def test_more_channels_than_can_answer_in_a_clock_are_not_stepped() -> None:
    message = "a device that is stepped clock by clock must have at most 64 channels, not 128"
    with pytest.raises(InputError, match=message):
        published(channels=128)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": 12}, "channels must be a power of two, not 12"),
        ({"tensor_parallel": 3}, "tensor parallelism must divide the 32 heads of gpt3-7b, not 3"),
        ({"model": "gpt3-8b"}, "no decoder is called 'gpt3-8b'; did you mean gpt3-7b?"),
        ({"pipeline_parallel": 5}, "pipeline_parallel must divide the 32 layers of gpt3-7b, not 5"),
        (
            {"system": "npu-pim", "sub_batch": "on"},
            "sub_batch must be off for system npu-pim: only neupims runs NPU and PIM side by side",
        ),
        ({"banks_per_group": 3}, "banks_per_group must be a power of two, or 0, not 3"),
        (
            {"weights": "4:2"},
            "weights must be dense, N:M such as 2:4, or qBgG such as q4g128, not '4:2'",
        ),
        (
            {"preset": "published-simulator", "weights": "2:4"},
            "weights must be dense with preset published-simulator, whose simulator knows nothing "
            "else, not 2:4",
        ),
        ({"link_bytes_per_s": -1.0}, "link_bytes_per_s must be at least 0, not -1.0"),
        (
            {"link_bytes_per_s": 5e-324},
            "link_bytes_per_s must be between 0.001 and 1e+18, not 5e-324",
        ),
        ({"channels": 1 << 40}, "channels must be at most 4096, not 1099511627776"),
        (
            {"dispatch_limit": "on"},
            "dispatch_limit must be auto or off with preset paper, whose core hands over PIM "
            "instructions as fast as they issue, not on",
        ),
    ],
)
def test_a_wrong_config_is_refused(settings, message) -> None:
    with pytest.raises(InputError) as caught:
        neupims.Config(**settings)
    assert str(caught.value) == message


@pytest.mark.parametrize("memory", MEMORIES)
def test_every_memory_runs(memory) -> None:
    assert run(memory=memory, channels=32).extra["cycles_per_layer"] > 0


def test_the_preset_paper_compiles_nothing() -> None:
    code = (
        "import sys\n"
        "from simulator.cli import main\n"
        "main(['run', 'neupims', '--requests', 'alpaca:8', '--json'])\n"
        "heavy = {'numba', 'scipy', 'pandas'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_one_row_buffer_is_never_faster() -> None:
    """Requests on channels in turn either way, no sub-batches: attention takes longer, by tiles."""
    for refresh in (False, True):
        blocked, dual = (
            run(system=system, sub_batch="off", refresh=refresh).extra["stages"]
            for system in ("npu-pim", "neupims")
        )
        assert blocked["A"] == dual["A"]
        assert blocked["B"] > dual["B"]


def test_a_report_says_how_many_layers_it_covers() -> None:
    (one,) = run(sub_batch="off").notes
    (two,) = run(sub_batch="on", output_layer=True).notes
    assert "tables are those of one decoder layer on one of 8 " in one
    assert (
        "those of two decoder layers of interleaved sub-batches and the output layer on one" in two
    )
