"""The examples run as they are shown."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


def output_of(name: str) -> str:
    script = str(EXAMPLES / name)
    return subprocess.run(
        [sys.executable, script], check=True, capture_output=True, text=True
    ).stdout


def test_the_sensitivities_that_the_readme_states() -> None:
    lines = output_of("sat_sensitivity.py").splitlines()
    average = {line[:34].strip(): float(line[34:].strip(" x")) for line in lines}
    readme = (EXAMPLES.parent / "README.md").read_text()
    assert f"16 lanes\ngive {average['vector engine of 16 lanes']}x" in readme
    assert f"64 give {average['vector engine of 64 lanes']}x" in readme
    assert f"the products alone {average['vector work and memory free']}x" in readme
    assert average["no interleaving"] == 1.0
