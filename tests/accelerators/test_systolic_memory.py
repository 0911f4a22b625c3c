"""Off-chip traffic of the systolic array against a naive replay of its tiles."""

from hypothesis import given
from hypothesis import strategies as st

from simulator.accelerators.systolic import memory


def loaded_bytes(stripes: list[int], used: list[int], fitting: int) -> int:
    """Load stripes in the order of use into a buffer that keeps the `fitting` last used ones."""
    kept: list[int] = []
    total = 0
    for stripe in used:
        if stripe not in kept:
            total += stripes[stripe]
        kept = ([s for s in kept if s != stripe] + [stripe])[-fitting:] if fitting else []
    return total


def stripes_of(length: int, width: int, bytes_each: int) -> list[int]:
    return [bytes_each * len(range(length)[i : i + width]) for i in range(0, length, width)]


def in_blocks(count: int, block: int) -> list[range]:
    return [range(count)[i : i + block] for i in range(0, count, block)]


@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    buffers=st.tuples(*[st.integers(0, 60)] * 2),
    array=st.tuples(*[st.integers(1, 3)] * 2),
)
def test_output_stationary_traffic_is_that_of_replaying_the_tiles(shape, buffers, array) -> None:
    """One byte an element; a buffer keeps as many stripes as fit, each as wide as the first."""
    (m, k, n), (rows, cols) = shape, array
    left, right = stripes_of(m, rows, k), stripes_of(n, cols, k)
    fitting = [
        min(len(stripes), size // -(-sum(stripes) // len(stripes)))
        for stripes, size in zip((left, right), buffers, strict=True)
    ]
    orders = [
        [
            (i, j)
            for block in in_blocks(len(left), fitting[0] or 1)
            for j in range(len(right))
            for i in block
        ],
        [
            (i, j)
            for block in in_blocks(len(right), fitting[1] or 1)
            for i in range(len(left))
            for j in block
        ],
    ]
    replayed = min(
        loaded_bytes(left, [i for i, _ in order], fitting[0])
        + loaded_bytes(right, [j for _, j in order], fitting[1])
        for order in orders
    )
    whole = memory.Product(m, k, n, m * k, k * n, m * n, 4 * m * n)
    held = memory.Buffers(2 * buffers[0], 2 * buffers[1], 0)
    reuse = memory.best_reuse(whole, held, rows=rows, cols=cols, dataflow="os")
    assert reuse.traffic_bytes(whole) == replayed + m * n


@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    buffers=st.tuples(*[st.integers(0, 60)] * 2),
    array=st.tuples(*[st.integers(1, 3)] * 2),
)
def test_weight_stationary_traffic_is_that_of_replaying_the_tiles(shape, buffers, array) -> None:
    """Strips of sums that share a pass, or all strips with their sums going out and back."""
    (m, k, n), (rows, cols) = shape, array
    left, sums = stripes_of(k, rows, m), stripes_of(n, cols, 4 * m)
    left_fit, strips_fit = (
        min(len(stripes), size // -(-sum(stripes) // len(stripes)))
        for stripes, size in zip((left, sums), buffers, strict=True)
    )
    deep, across = len(left), len(sums)
    everything = [i for i in range(deep) for _ in range(across)]
    choices = [loaded_bytes(left, everything, left_fit) + 2 * (deep - 1) * sum(sums)]
    if strips_fit or deep == 1:
        together = [
            i for block in in_blocks(across, strips_fit or 1) for i in range(deep) for _ in block
        ]
        choices.append(loaded_bytes(left, together, left_fit))
    for dataflow, (p, q) in (("ws", (m, n)), ("is", (n, m))):
        whole = memory.Product(p, k, q, p * k, k * q, m * n, 4 * m * n)
        streamed, held = ("left", "right") if dataflow == "ws" else ("right", "left")
        sizes = memory.Buffers(**{streamed: 2 * buffers[0], held: 0, "out": 2 * buffers[1]})
        reuse = memory.best_reuse(whole, sizes, rows=rows, cols=cols, dataflow=dataflow)
        assert reuse.traffic_bytes(whole) == min(choices) + k * n + m * n
