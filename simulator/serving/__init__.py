"""Serving of requests that arrive over time: prefill, continuous batching, paged caches.

*Source*: iterations whose batch changes between them, Orca (Yu et al., OSDI 2022); paged caches
with pre-emption and recomputation, vLLM (Kwon et al., SOSP 2023, arXiv 2309.06180); prefill on
separate NPUs, channels and tiles, NeuPIMs (Heo et al., ASPLOS 2024, arXiv 2403.00579), section on
scheduling.

*Exact*: no request is lost or served twice, every token is made once, no page is leaked and the
cache is never over-full, whatever the times of the device are (tests/serving).

*Approximate*: what the times are, see `systems`; requests join at the end of an iteration, however
long it is.

*Ignored*: the host, tokenisation, the network, output layer and sampling.
"""

from simulator.serving.arrivals import Request, poisson_requests, read_arrivals
from simulator.serving.loop import Device, Outcome, serve
from simulator.serving.metrics import iteration_rows, request_rows, summary

__all__ = [
    "Device",
    "Outcome",
    "Request",
    "iteration_rows",
    "poisson_requests",
    "read_arrivals",
    "request_rows",
    "serve",
    "summary",
]
