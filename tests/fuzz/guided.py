"""Fuzz one target with Atheris, guided by coverage: python -m tests.fuzz.guided TARGET SECONDS DIR.

Readers are instrumented as they are imported; compiled kernels are not, as numba could not read
them any more.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

READERS = ["workloads", "simulator.configuration", "simulator.run_options", "simulator.sweep"]

MOST_MIB = 4096
"""Memory above which Atheris ends the process."""

with atheris.instrument_imports(include=READERS):
    from tests.fuzz.targets import targets
    from tests.fuzz.watch import Watch


def main(name: str, seconds: str, findings: str) -> None:
    """Look for new branches until the time is over; Atheris prints its statistics and ends."""
    watch = Watch(name, targets()[name], Path(findings))
    corpus = watch.findings.parent / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(watch.target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = ["-print_final_stats=1", f"-max_total_time={int(float(seconds))}"]
    options += [f"-rss_limit_mb={MOST_MIB}"]
    if watch.target.words:
        words = corpus.with_suffix(".words")
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in watch.target.words))
        options.append(f"-dict={words}")
    atheris.Setup([sys.argv[0], *options, str(corpus)], watch)
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word[:60])


if __name__ == "__main__":
    main(*sys.argv[1:])
