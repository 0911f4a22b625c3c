"""`sparsight serve`: requests that arrive over time, on one of four systems."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from simulator.cli import options
from workloads.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.serving import Device, Outcome, Request
    from simulator.serving.systems import Reused

WITHIN, CHECK_EVERY = 0.0, 100
"""How alike iterations of an NPU are to take the time of one, and how often that is checked."""

MOST_DRAWN = 10_000_000
"""Drawn requests, at most: about what the memory of one machine holds."""

MOST_UNITS = 1 << 16
"""Groups of NPUs that prefill, at most: each is looked at whenever a request arrives."""

RATE, COUNT, SEED = 10.0, 200, 0
"""Drawn requests unless the user says otherwise."""

System = Annotated[
    Literal["gpu-only", "npu-only", "npu-pim", "neupims"], typer.Option(help="What serves.")
]
Requests = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE",
        help="alpaca, sharegpt, or a CSV of arrival_s, input_tokens, output_tokens.",
    ),
]
Rate = Annotated[float | None, typer.Option(help="Drawn requests a second (default 10).")]
Count = Annotated[int | None, typer.Option(help="Drawn requests (default 200).")]
Seed = Annotated[int | None, typer.Option(help="Seed of drawn requests (default 0).")]
Units = Annotated[int | None, typer.Option(help="Groups of NPUs that prefill (default 1).")]
Within = Annotated[
    float | None,
    typer.Option(
        help="Relative width in which an NPU's iterations are alike (default 0: all are simulated)."
    ),
]
CheckEvery = Annotated[
    int | None, typer.Option(help="Simulate every Nth of those too; 0: none (default 100).")
]
Iterations = Annotated[Path | None, typer.Option(help="Write one row an iteration as CSV.")]


def serve(
    system: System,
    requests: Requests,
    model: Annotated[str, typer.Option(help="Decoder: gpt3-7b, llama3-8b, ...")] = "gpt3-7b",
    tp: Annotated[int, typer.Option(help="Tensor-parallel devices.")] = 4,
    pp: Annotated[int, typer.Option(help="Pipeline stages.")] = 1,
    rate: Rate = None,
    count: Count = None,
    seed: Seed = None,
    batch: Annotated[int, typer.Option(help="Most requests in the batch.")] = 256,
    policy: Annotated[
        Literal["preempt", "reserve"], typer.Option(help="What happens when the cache is full.")
    ] = "preempt",
    prefill_units: Units = None,
    within: Within = None,
    check_every: CheckEvery = None,
    settings: options.Settings = None,
    as_json: options.Json = False,
    csv: options.Csv = None,
    parquet: options.Parquet = None,
    iterations: Iterations = None,
    timeline: options.Timeline = None,
) -> None:
    """Serve requests with continuous batching: throughput, latencies, occupancy.

    --set changes fields of the accelerator: gpu for gpu-only, neupims for the others. --csv writes
    one row a request.
    """
    from simulator import serving
    from simulator.cli import output

    drawn = Drawn(rate=rate, count=count, seed=seed)
    for_npus = {"prefill-units": prefill_units, "within": within, "check-every": check_every}
    output.check_targets(csv=csv, parquet=parquet, timeline=timeline, others=(iterations,))
    arriving = read_requests(requests, drawn)
    config = read_config(system, {"model": model, "tp": tp, "pp": pp}, settings or ())
    device, times = _device(system, config, for_npus)
    with output.working("serving (the first run on a machine compiles)"):
        outcome = serving.serve(arriving, device, policy=policy, most_running=batch)
    found = {**serving.summary(outcome), **_approximation(times)}
    rows = serving.request_rows(outcome)
    if as_json:
        from simulator.report import config_values

        values = config_values(getattr(config, "resolved", config))
        output.print_json({**found, "config": values, "per_request": rows})
    else:
        _show(found, f"{model}, {requests}")
    _write(outcome, rows, csv=csv, parquet=parquet, iterations=iterations, timeline=timeline)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Options of drawn requests, where they were given."""

    rate: float | None = None
    count: int | None = None
    seed: int | None = None


def read_requests(text: str, drawn: Drawn) -> tuple[Request, ...]:
    """Return the requests: drawn from a data set, or read from a trace, which fixes them."""
    import numpy as np

    from simulator.serving import poisson_requests, read_arrivals
    from workloads.llm.requests import DATASETS

    if text not in DATASETS:
        for name in ("rate", "count", "seed"):
            if getattr(drawn, name) is not None:
                raise InputError(
                    f"--{name} applies to requests drawn from {' or '.join(DATASETS)}; "
                    f"--requests {text} is a trace, which fixes it"
                )
        return read_arrivals(Path(text))
    seed = SEED if drawn.seed is None else drawn.seed
    if seed < 0:
        raise InputError(f"--seed must be at least 0, not {seed}")
    wanted = COUNT if drawn.count is None else drawn.count
    if wanted > MOST_DRAWN:
        raise InputError(f"--count must be at most {MOST_DRAWN}, not {wanted}")
    return poisson_requests(
        text,
        rate_per_s=RATE if drawn.rate is None else drawn.rate,
        count=wanted,
        generator=np.random.default_rng(seed),
    )


def read_config(system: str, given: dict[str, Any], settings: Sequence[str]) -> Any:
    """Return the config of the accelerator behind a system."""
    from simulator.accelerators import find
    from simulator.configuration import override, parse_settings

    named = {"model": "model", "tp": "tensor_parallel", "pp": "pipeline_parallel"}
    values = parse_settings(settings)
    for option, name in (*named.items(), ("system", "system")):
        if name in values:
            raise InputError(f"--set {name} cannot be used here; give --{option}")
    values |= {named[option]: str(value) for option, value in given.items()}
    if system == "gpu-only":
        return override(find("gpu").Config(), values)
    return override(find("neupims").Config(), values | {"system": system})


def _device(system: str, config: Any, for_npus: dict[str, Any]) -> tuple[Device, Reused | None]:
    """Return what serves; options that only systems of NPUs read are refused for a GPU."""
    from simulator.serving import systems

    if system == "gpu-only":
        for name, value in for_npus.items():
            if value is not None:
                raise InputError(
                    f"--{name} does not apply to gpu-only, which prefills by itself and whose "
                    "iterations are all computed"
                )
        return systems.gpu_device(config), None
    chosen: dict[str, Any] = {
        "prefill_units": 1 if for_npus["prefill-units"] is None else for_npus["prefill-units"],
        "within": WITHIN if for_npus["within"] is None else for_npus["within"],
        "check_every": CHECK_EVERY if for_npus["check-every"] is None else for_npus["check-every"],
    }
    if not 1 <= chosen["prefill_units"] <= MOST_UNITS:
        raise InputError(
            f"--prefill-units must be 1 to {MOST_UNITS}, not {chosen['prefill_units']}"
        )
    return systems.neupims_device(config, **chosen)


def _approximation(times: Reused | None) -> dict[str, Any]:
    """Say how many layers were simulated, how many reused a time, and how far that is off."""
    if times is None:
        return {}
    return {
        "simulated_layers": times.simulated + len(times.errors),
        "reused_layers": times.reused - len(times.errors),
        "largest_reuse_error": times.largest_error if times.errors else None,
    }


def _write(
    outcome: Outcome,
    rows: list[dict[str, Any]],
    *,
    csv: Path | None,
    parquet: Path | None,
    iterations: Path | None,
    timeline: Path | None,
) -> None:
    from simulator.cli import output
    from simulator.serving import iteration_rows
    from simulator.serving.timeline import encode

    output.write_rows(rows, csv=csv, parquet=parquet)
    if iterations is not None:
        output.write_rows(iteration_rows(outcome), csv=iterations)
    if timeline is not None:
        output.write_files({timeline: encode(outcome)})


def _show(found: dict[str, Any], title: str) -> None:
    from simulator import quantities
    from simulator.cli import tables

    times = ("time_to_first_token_s", "time_per_output_token_s", "queue_s", "latency_s")
    names = ("mean", "p50", "p95", "p99")
    rows = [
        (
            name.removesuffix("_s").replace("_", " "),
            *("-" if found[name][k] is None else quantities.seconds(found[name][k]) for k in names),
        )
        for name in times
    ]
    totals = [
        ("throughput", f"{found['tokens_per_s']:,.0f} tokens/s"),
        ("", f"{found['requests_per_s']:.2f} requests/s"),
        ("served", f"{found['requests']:,} requests, {found['output_tokens']:,} tokens"),
        ("duration", quantities.seconds(found["duration_s"])),
        ("batch", f"{found['mean_batch']:.1f} on average, at most {found['largest_batch']}"),
        ("cache", f"{quantities.percent(found['mean_kv_occupancy'], 1)} full, at most "
         f"{quantities.percent(found['largest_kv_occupancy'], 1)}"),
        ("pre-emptions", f"{found['preemptions']:,}"),
    ]  # fmt: skip
    out = tables.console()
    made = tables.table(f"{title} on {found['system']}", ("", ""), totals)
    made.show_header = False
    out.print(made)
    out.print(tables.table("Times", ("", *(f">{name}" for name in names)), rows))
    if found.get("reused_layers"):
        _note_reuse(found)


def _note_reuse(found: dict[str, Any]) -> None:
    from simulator import quantities
    from simulator.cli import output

    error, checked = found["largest_reuse_error"], "none was checked"
    if error is not None:
        checked = f"off by at most {quantities.percent(error, 1)} where checked"
    output.say(
        f"note: {found['simulated_layers']} layers were simulated, {found['reused_layers']} took "
        f"the time of a similar one ({checked}); without --within all are"
    )
