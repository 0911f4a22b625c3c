"""What a run of the serving loop amounts to: throughput, latencies with percentiles, occupancy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from simulator.serving.loop import Outcome

PERCENTILES = (50, 95, 99)


def summary(outcome: Outcome) -> dict[str, Any]:
    """Return the totals of a run, JSON-ready; times in s.

    The run lasts from the first arrival to the end of the last request. Shares of the batch and of
    the cache are means over the time in which the device works.
    """
    rows = request_rows(outcome)
    first = min(row["arrival_s"] for row in rows)
    duration = max(row["finish_s"] for row in rows) - first
    tokens = sum(row["output_tokens"] for row in rows)
    return {
        "system": outcome.device,
        "policy": outcome.policy,
        "requests": len(rows),
        "output_tokens": tokens,
        "duration_s": duration,
        "tokens_per_s": tokens / duration,
        "requests_per_s": len(rows) / duration,
        "time_to_first_token_s": spread([row["first_token_s"] - row["arrival_s"] for row in rows]),
        "time_per_output_token_s": spread(
            [row["time_per_output_token_s"] for row in rows if row["output_tokens"] > 1]
        ),
        "queue_s": spread([row["queue_s"] for row in rows]),
        "latency_s": spread([row["finish_s"] - row["arrival_s"] for row in rows]),
        "preemptions": sum(row["preemptions"] for row in rows),
        **_occupancy(outcome),
    }


def _occupancy(outcome: Outcome) -> dict[str, Any]:
    """Return means over time and largest values of batch and cache; zeros without iterations."""
    if not outcome.iterations:
        return {
            "iterations": 0,
            "mean_batch": 0.0,
            "largest_batch": 0,
            "mean_kv_occupancy": 0.0,
            "largest_kv_occupancy": 0.0,
            "busy_s": 0.0,
        }
    seconds, batch, pages = (
        np.array([getattr(each, name) for each in outcome.iterations], float)
        for name in ("seconds", "decoding", "used_pages")
    )
    return {
        "iterations": len(outcome.iterations),
        "mean_batch": float(batch @ seconds / seconds.sum()),
        "largest_batch": int(batch.max()),
        "mean_kv_occupancy": float(pages @ seconds / seconds.sum()) / outcome.capacity_pages,
        "largest_kv_occupancy": float(pages.max()) / outcome.capacity_pages,
        "busy_s": float(seconds.sum()),
    }


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """Return mean, median and the high percentiles; None where there is nothing.

    >>> spread([1.0, 2.0, 3.0])["p50"]
    2.0
    """
    names = [f"p{percentile}" for percentile in PERCENTILES]
    if not values:
        return dict.fromkeys(["mean", *names])
    found = np.percentile(values, PERCENTILES).tolist()
    return {"mean": float(np.mean(values)), **dict(zip(names, found, strict=True))}


def request_rows(outcome: Outcome) -> list[dict[str, Any]]:
    """Return one row per request: its times from the start of the run, its tokens."""
    rows = []
    for number, each in enumerate(outcome.served):
        made = each.request.output_tokens
        after_first = each.finish_s - each.first_token_s
        rows.append(
            {
                "request": number,
                "arrival_s": each.request.arrival_s,
                "input_tokens": each.request.input_tokens,
                "output_tokens": made,
                "queue_s": each.prefill_start_s - each.request.arrival_s,
                "first_token_s": each.first_token_s,
                "finish_s": each.finish_s,
                "time_per_output_token_s": after_first / (made - 1) if made > 1 else None,
                "preemptions": each.preemptions,
            }
        )
    return rows


def iteration_rows(outcome: Outcome) -> list[dict[str, Any]]:
    """Return one row per iteration: when, how long, the batch, prompts read, pages in use."""
    return [each._asdict() for each in outcome.iterations]
