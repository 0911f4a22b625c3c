"""Answer one product with AccelForge on a 32 x 32 array without fill and drain."""

import contextlib
import io
import json
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import accelforge

ARCH = """
arch:
  nodes:
  - !Memory
    name: MainMemory
    size: inf
    leak_power: 0
    area: 0
    tensors: {keep: All}
    actions:
    - {name: read, energy: 1, throughput: inf}
    - {name: write, energy: 1, throughput: inf}
  - !Container
    name: Array
    spatial:
    - {name: rows, fanout: 32}
    - {name: cols, fanout: 32}
  - !Compute
    name: MAC
    leak_power: 0
    area: 0
    actions:
    - {name: compute, energy: 1, throughput: 1}
"""
WORKLOAD = """
workload:
  iteration_space_shape:
    m: 0 <= m < {m}
    k: 0 <= k < {k}
    n: 0 <= n < {n}
  bits_per_value: {{All: 8}}
  einsums:
  - name: Product
    tensor_accesses:
    - {{name: X, projection: [m, k]}}
    - {{name: W, projection: [k, n]}}
    - {{name: Y, projection: [m, n], output: True}}
    renames: {{weight: W, input: X, output: Y}}
"""

m, k, n = map(int, sys.argv[1:])
folder = Path(tempfile.mkdtemp())
(folder / "arch.yaml").write_text(ARCH)
(folder / "workload.yaml").write_text(WORKLOAD.format(m=m, k=k, n=n))
began = time.perf_counter()
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    spec = accelforge.Spec.from_yaml(str(folder / "arch.yaml"), str(folder / "workload.yaml"))
    found = spec.map_workload_to_arch()
seconds = time.perf_counter() - began
print(
    json.dumps(
        {
            "version": metadata.version("accelforge"),
            "seconds": seconds,
            "cycles": float(found.latency()),
        }
    )
)
