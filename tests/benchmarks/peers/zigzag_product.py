"""Answer one product with ZigZag on its own 32 x 32 array with stationary weights."""

import contextlib
import io
import json
import logging
import sys
import tempfile
import time
from importlib import metadata, resources

from zigzag import api

m, k, n = map(int, sys.argv[1:])
inputs = resources.files("zigzag").joinpath("inputs")
product = {
    "id": 0,
    "name": "product",
    "operator_type": "Gemm",
    "equation": "O[b][k]+=W[k][c]*I[b][c]",
    "loop_dims": ["B", "K", "C"],
    "loop_sizes": [m, n, k],
    "operand_precision": {"W": 8, "I": 8, "O": 16, "O_final": 8},
    "operand_source": {"I": 0, "W": 0},
}
logging.disable(logging.CRITICAL)
began = time.perf_counter()
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    _, cycles, _ = api.get_hardware_performance_zigzag(
        [product],
        str(inputs.joinpath("hardware", "tpu_like.yaml")),
        str(inputs.joinpath("mapping", "tpu_like.yaml")),
        dump_folder=tempfile.mkdtemp(),
        loma_show_progress_bar=False,
    )
seconds = time.perf_counter() - began
print(
    json.dumps(
        {"version": metadata.version("zigzag-dse"), "seconds": seconds, "cycles": float(cycles)}
    )
)
