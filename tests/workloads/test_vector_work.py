import pytest

from workloads import Pass, vector_work
from workloads.vector_work import COSTS, Cost


def documented() -> dict[tuple[str, str], list[tuple[int, int, int, bool]]]:
    """Rows of the table in the module docstring, by kind and pass."""
    assert vector_work.__doc__ is not None
    lines = vector_work.__doc__.splitlines()
    top, _, bottom = (i for i, line in enumerate(lines) if line.startswith("====="))
    starts = [i for i, c in enumerate(lines[top]) if c == "=" and lines[top][i - 1 : i] != "="]
    rows: dict[tuple[str, str], list[tuple[int, int, int, bool]]] = {}
    for line in lines[top + 3 : bottom]:
        edges = zip(starts, [*starts[1:], len(line)], strict=True)
        kind, pass_, lanes, reads, writes, fused, _ = (line[a:b].strip() for a, b in edges)
        cost = (int(lanes), int(reads or 0), int(writes or 0), fused == "yes")
        rows.setdefault((kind.split()[0], pass_), []).append(cost)
    return rows


def test_the_documented_table_is_the_one_in_use() -> None:
    used: dict[tuple[str, str], list[tuple[int, int, int, bool]]] = {}
    for kind, costs in COSTS.items():
        for cost in costs:
            row = (cost.lane_operations, cost.reads, cost.writes, cost.fused)
            used.setdefault((kind, str(cost.pass_)), []).append(row)
    assert documented() == used


@pytest.mark.parametrize("kind", sorted(COSTS))
def test_only_skip_tensors_move_with_fused_work(kind: str) -> None:
    moving = [cost for cost in COSTS[kind] if cost.fused and cost.reads + cost.writes]
    assert bool(moving) is (kind in ("add", "split"))


def test_bytes_are_fp16_tensors() -> None:
    (op,) = vector_work.vector_work("x", "swiglu", Pass.BP, 10)
    # g, u and dY in; dg and du out.
    assert (op.read_bytes, op.write_bytes) == (3 * 10 * 2, 2 * 10 * 2)


def test_a_cost_is_not_fused_unless_it_says_so() -> None:
    assert not Cost(Pass.FF, "x", 1).fused
