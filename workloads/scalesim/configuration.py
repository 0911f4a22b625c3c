"""SCALE-Sim configuration files: an INI file as a plain frozen value, and back.

Source: scale_config.py and configs/scale.cfg of scalesim-project/SCALE-Sim, version 3. Files of
version 2 have no [layout] and [sparsity] and fewer fields; what a file leaves out has the value of
configs/scale.cfg. Names of keys do not depend on case. A key that nobody knows is an error, not
ignored.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from workloads.errors import InputError
from workloads.files import write_whole
from workloads.scalesim._text import Place, numbered_lines, whole_number


def _key(section: str, key: str, default: Any = MISSING) -> Any:
    """A field that stands under `key` in `section`."""
    return field(default=default, metadata={"section": section, "key": key})


_GENERAL, _ARRAY, _RUN = "general", "architecture_presets", "run_presets"
_LAYOUT, _SPARSITY = "layout", "sparsity"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleSimConfig:
    """The fields of a SCALE-Sim configuration, in its own units (kB are 1024 bytes there).

    `bandwidths` are words per cycle of the three interfaces (or one for all), used where
    `interface_bandwidth` is USER; CALC lets SCALE-Sim find the bandwidth that never stalls.
    """

    run_name: str = _key(_GENERAL, "run_name", "scale_run")
    array_height: int = _key(_ARRAY, "ArrayHeight")
    array_width: int = _key(_ARRAY, "ArrayWidth")
    ifmap_sram_kb: int = _key(_ARRAY, "IfmapSramSzkB")
    filter_sram_kb: int = _key(_ARRAY, "FilterSramSzkB")
    ofmap_sram_kb: int = _key(_ARRAY, "OfmapSramSzkB")
    ifmap_offset: int = _key(_ARRAY, "IfmapOffset", 0)
    filter_offset: int = _key(_ARRAY, "FilterOffset", 10_000_000)
    ofmap_offset: int = _key(_ARRAY, "OfmapOffset", 20_000_000)
    bandwidths: tuple[int, ...] = _key(_ARRAY, "Bandwidth", (10,))
    dataflow: str = _key(_ARRAY, "Dataflow")
    memory_banks: int = _key(_ARRAY, "MemoryBanks", 1)
    read_request_buffer: int = _key(_ARRAY, "ReadRequestBuffer", 32)
    write_request_buffer: int = _key(_ARRAY, "WriteRequestBuffer", 32)
    ifmap_custom_layout: bool = _key(_LAYOUT, "IfmapCustomLayout", False)
    ifmap_sram_bank_bandwidth: int = _key(_LAYOUT, "IfmapSRAMBankBandwidth", 100)
    ifmap_sram_bank_num: int = _key(_LAYOUT, "IfmapSRAMBankNum", 10)
    ifmap_sram_bank_port: int = _key(_LAYOUT, "IfmapSRAMBankPort", 2)
    filter_custom_layout: bool = _key(_LAYOUT, "FilterCustomLayout", False)
    filter_sram_bank_bandwidth: int = _key(_LAYOUT, "FilterSRAMBankBandwidth", 100)
    filter_sram_bank_num: int = _key(_LAYOUT, "FilterSRAMBankNum", 10)
    filter_sram_bank_port: int = _key(_LAYOUT, "FilterSRAMBankPort", 2)
    sparsity_support: bool = _key(_SPARSITY, "SparsitySupport", False)
    sparse_representation: str = _key(_SPARSITY, "SparseRep", "ellpack_block")
    optimized_mapping: bool = _key(_SPARSITY, "OptimizedMapping", False)
    block_size: int = _key(_SPARSITY, "BlockSize", 8)
    random_seed: int = _key(_SPARSITY, "RandomNumberGeneratorSeed", 40)
    interface_bandwidth: str = _key(_RUN, "InterfaceBandwidth", "CALC")
    use_ramulator_trace: bool = _key(_RUN, "UseRamulatorTrace", False)

    def __post_init__(self) -> None:
        for item in fields(self):
            _check(item, getattr(self, item.name))
        if self.optimized_mapping and self.block_size > self.array_height:
            raise InputError(
                f"BlockSize must be at most ArrayHeight {self.array_height} with OptimizedMapping, "
                f"not {self.block_size}"
            )


_CHOICES = {"Dataflow": ("os", "ws", "is"), "InterfaceBandwidth": ("CALC", "USER")}
_FROM_ZERO = {"IfmapOffset", "FilterOffset", "OfmapOffset", "RandomNumberGeneratorSeed"}


def read_configuration(path: str | Path) -> ScaleSimConfig:
    """Read a configuration file; `InputError` names file and line of what is wrong."""
    path = Path(path)
    known = {(f.metadata["section"], f.metadata["key"].lower()): f for f in fields(ScaleSimConfig)}
    types = get_type_hints(ScaleSimConfig)
    values: dict[str, Any] = {}
    for place, section, key, text in _entries(path):
        item = known.get((section, key.lower()))
        if item is None:
            raise InputError(f"{place}: SCALE-Sim has no key {key!r} in [{section}]")
        if item.name in values:
            raise InputError(f"{place}: {key} is given twice; give it once")
        values[item.name] = _value(item, types[item.name], text, place)
    missing = [f for f in fields(ScaleSimConfig) if f.default is MISSING and f.name not in values]
    if missing:
        raise InputError(
            f"configuration {path} must have {missing[0].metadata['key']} in "
            f"[{missing[0].metadata['section']}]"
        )
    try:
        return ScaleSimConfig(**values)
    except InputError as error:
        raise InputError(f"configuration {path}: {error}") from None


def write_configuration(path: str | Path, config: ScaleSimConfig) -> None:
    """Write a configuration file with all sections and keys, whole or not at all."""
    sections: dict[str, list[str]] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        lines = sections.setdefault(item.metadata["section"], [])
        lines.append(f"{item.metadata['key']} = {text}")
    blocks = ["\n".join([f"[{name}]", *lines]) for name, lines in sections.items()]
    write_whole({Path(path): ("\n\n".join(blocks) + "\n").encode()})


def _entries(path: Path) -> list[tuple[Place, str, str, str]]:
    """Place, section, key and value of every line that sets something."""
    section, entries = "", list[tuple[Place, str, str, str]]()
    for place, line in numbered_lines(path, "configuration"):
        if line[0] in "#;":
            continue
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
            continue
        cut = min((i for i in (line.find("="), line.find(":")) if i >= 0), default=-1)
        if cut < 1:
            raise InputError(f"{place}: a line must be [section] or key = value, not {line!r}")
        if not section:
            raise InputError(f"{place}: {line[:cut].strip()} must stand below a [section]")
        entries.append((place, section, line[:cut].strip(), line[cut + 1 :].strip()))
    return entries


def _value(item: Field[Any], kind: Any, text: str, place: Place) -> Any:
    key = item.metadata["key"]
    least = 0 if key in _FROM_ZERO else 1
    if kind is int:
        return whole_number(text, key, place, least=least)
    if get_args(kind):
        return tuple(whole_number(part.strip(), key, place, least=1) for part in text.split(","))
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise InputError(f"{place}: {key} must be True or False, not {text!r}")
        return text.lower() == "true"
    try:
        _check(item, text)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None
    return text


def _check(item: Field[Any], value: Any) -> None:
    """Check a value of the right type."""
    key = item.metadata["key"]
    choices = _CHOICES.get(key)
    if choices and value not in choices:
        raise InputError(f"{key} must be one of {', '.join(choices)}, not {value!r}")
    if isinstance(value, str) and (not value.isprintable() or value != value.strip() or not value):
        raise InputError(f"{key} must be printable text without spaces around it, not {value!r}")
    numbers = value if isinstance(value, tuple) else (value,) if type(value) is int else ()
    least = 0 if key in _FROM_ZERO else 1
    if isinstance(value, tuple) and not value:
        raise InputError(f"{key} must have at least one number")
    if any(number < least for number in numbers):
        raise InputError(f"{key} must be at least {least}, not {value!r}")
