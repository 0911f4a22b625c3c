"""Answer one product with SCALE-Sim: output stationary, 32 x 32."""

import contextlib
import io
import json
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

from scalesim.scale_sim import scalesim

CONFIG = """[general]
run_name = product
[architecture_presets]
ArrayHeight: 32
ArrayWidth: 32
IfmapSramSzkB: 4096
FilterSramSzkB: 4096
OfmapSramSzkB: 4096
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Bandwidth: 10
Dataflow: os
ReadRequestBuffer: 32
WriteRequestBuffer: 32
[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: 10
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: 10
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2
[sparsity]
SparsitySupport: false
[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""

m, k, n = map(int, sys.argv[1:])
folder = Path(tempfile.mkdtemp())
(folder / "c.cfg").write_text(CONFIG)
(folder / "t.csv").write_text(f"Layer, M, N, K,\nproduct, {m}, {n}, {k},\n")
(folder / "l.csv").write_text("Layer,\nproduct," + " 1," * 18 + "\n")
began = time.perf_counter()
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    tool = scalesim(
        save_disk_space=True,
        verbose=False,
        config=str(folder / "c.cfg"),
        topology=str(folder / "t.csv"),
        layout=str(folder / "l.csv"),
        input_type_gemm=True,
    )
    tool.run_scale(top_path=str(folder))
seconds = time.perf_counter() - began
report = next(folder.rglob("COMPUTE_REPORT.csv")).read_text().splitlines()
row = dict(zip(*(map(str.strip, line.split(",")) for line in report[:2]), strict=False))
print(
    json.dumps(
        {
            "version": metadata.version("scalesim"),
            "seconds": seconds,
            "cycles": float(row["Total Cycles"]),
        }
    )
)
