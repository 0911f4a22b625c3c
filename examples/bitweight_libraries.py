"""The designs behind the published ratios, mapped to other open cell libraries with the same flow.

    python examples/bitweight_libraries.py LIBRARY.lib... [-o TABLE.csv]

Writes one row per design and library: area in the library's unit, minimum period, energy. The
default table is sim_results/bitweight/other-libraries.csv, made from the OSU 0.35 um and 0.5 um
libraries of the Debian packages qflow-tech-osu035 and qflow-tech-osu050. Their cells are drawn as
those of the 0.18 um library: another process, not another way to build cells. Rows that are there
already are kept. Takes up to half a minute a design.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import asdict
from pathlib import Path

from rtl.synthesis.designs import find
from rtl.synthesis.table import COLUMNS, measure
from workloads.files import csv_content, write_whole

TABLE = Path(__file__).parent.parent / "sim_results" / "bitweight" / "other-libraries.csv"
ARRAYS = [f"{array}_{style}" for array in ("ws", "os", "cube", "matrix")
          for style in ("naive", "mac", "opt1")]  # fmt: skip
DESIGNS = [
    "mac", "mac_naive", "opt1", "opt4c", "opt4e", "opt4c_seg", "opt4e_seg", "laconic",
    *ARRAYS, "tree_mac", "tree_opt2",
]  # fmt: skip


def main(libraries: list[Path], table: Path = TABLE) -> None:
    """Measure what the table lacks, and write it after every design."""
    rows = list(csv.DictReader(table.open(newline=""))) if table.is_file() else []
    for name in DESIGNS:
        for library in libraries:
            if (name, library.stem) in {(row["design"], row["library"]) for row in rows}:
                continue
            result = asdict(measure(find(name), library=library))
            rows.append({column: str(result[column]) for column in COLUMNS})
            print(name, library.stem, result["area"], result["min_period_ns"], flush=True)
            write_whole({table: csv_content(rows, COLUMNS)})


if __name__ == "__main__":
    words = sys.argv[1:]
    at = words.index("-o") if "-o" in words else len(words)
    main([Path(word) for word in words[:at]], Path(words[at + 1]) if words[at:] else TABLE)
