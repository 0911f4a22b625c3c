import pytest

from dataflow.bitweight import NESTS, Nest
from workloads.errors import InputError

CLASSIC = ("systolic_os", "systolic_ws", "cube", "tree", "matrix_2d")
ENGINES = ("opt1", "opt2", "opt3", "opt4c", "opt4e")


def test_the_classic_arrays_and_the_five_engines_are_instances() -> None:
    assert set(NESTS) == {*CLASSIC, *ENGINES}


def test_only_the_engines_keep_the_carry_chain_out_of_the_loop() -> None:
    assert {name for name, nest in NESTS.items() if nest.carry_save} == set(ENGINES)


def test_only_the_last_three_skip_zero_digits() -> None:
    assert {name for name, nest in NESTS.items() if nest.skips} == {"opt3", "opt4c", "opt4e"}


def test_sharing_moves_the_encoder_out_of_the_columns() -> None:
    lanes = {"M": 16, "N": 8, "K": 4}
    assert NESTS["opt3"].copies("sparse", lanes) == 16 * 8
    assert NESTS["opt4c"].copies("sparse", lanes) == 16
    assert NESTS["opt4e"].copies("sparse", lanes) == 16 * 4
    assert NESTS["opt4e"].copies("map", lanes) == 16 * 8 * 4
    assert NESTS["opt4c"].copies("map", lanes) == 16 * 8
    assert NESTS["systolic_os"].copies("add", lanes) == 16 * 8


def test_a_nest_prints_its_levels_with_what_happens_there() -> None:
    assert str(NESTS["opt1"]) == "\n".join(
        [
            "MT",
            "  NT",
            "    MP",
            "      NP: add",
            "        KT: encode, half_reduce",
            "          BWP: map, shift",
        ]
    )


def test_opt1_is_the_classic_array_with_one_primitive_moved() -> None:
    moved = NESTS["systolic_os"].moved("add", "NP")
    assert set(moved.placement) == set(NESTS["opt1"].placement)


@pytest.mark.parametrize(
    ("start", "primitive", "level", "reason"),
    [
        ("opt1", "encode", "NP", "encode reads A[m,k], so it must be inside KT"),
        (
            "opt1",
            "map",
            "KT",
            "map picks a multiple of B[k,n] by digit [m,k,bw], so it must be inside BWP",
        ),
        (
            "opt1",
            "shift",
            "KT",
            "shift needs one bit weight, so it must be inside BWP: digits of different weight "
            "would be added unshifted",
        ),
        ("opt1", "half_reduce", "MT", "half_reduce works on one C[m,n], so it must be inside NT"),
        (
            "opt1",
            "add",
            "BWP",
            "add resolves what half_reduce made, so it must not be inside a level of its own",
        ),
        ("opt1", "add", "MT", "add works on one C[m,n], so it must be inside NT"),
        (
            "opt1",
            "sparse",
            "KT",
            "sparse has no level to skip in: a zero digit with its own hardware saves no time",
        ),
        ("opt1", "sync", "NT", "sync has nothing to wait for: all lanes take the same steps"),
        ("opt4c", "sparse", "MP", "sparse makes the steps of KS, so it must be directly around it"),
        ("opt4c", "encode", "KS", "sparse reads encoded digits, so encode must not be inside it"),
        (
            "opt4c",
            "sync",
            "BWT",
            "lanes of MP finish at different times, so sync must be around it",
        ),
        (
            "opt4e",
            "sync",
            "NT",
            "lanes of KP share a sum of one weight, so sync must be inside BWT",
        ),
    ],
)
def test_an_impossible_placement_is_rejected_with_its_reason(
    start: str, primitive: str, level: str, reason: str
) -> None:
    with pytest.raises(InputError) as error:
        NESTS[start].moved(primitive, level)
    assert str(error.value) == f"nest {start!r} is not possible: {reason}"


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ("MT NT KT", "nest 'x' must have a level of BW"),
        (
            "MT NT KT BWX",
            "level of nest 'x' must be an axis M, N, K or BW with P, T or S, not 'BWX'",
        ),
        ("MT NT KT KT BWP", "levels of nest 'x' must differ, not MT NT KT KT BWP"),
        ("MT NT KT BWP", "nest 'x' must place encode"),
    ],
)
def test_levels_must_make_a_product(levels: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        Nest(name="x", levels=tuple(levels.split()), placement=())
    assert str(error.value) == message


def test_columns_of_different_operands_cannot_share_one_skipping_loop() -> None:
    nest = NESTS["opt4c"]
    levels = ("MT", "NT", "BWT", "KT", "KS", "MP", "NP")
    with pytest.raises(InputError, match="hold other operands, whose zero digits are elsewhere"):
        Nest(name="shared", levels=levels, placement=nest.placement)


def test_skipping_needs_a_sparse_encoder() -> None:
    nest = NESTS["opt4c"]
    kept = tuple(pair for pair in nest.placement if pair[0] != "sparse")
    with pytest.raises(InputError, match="KS skips zero digits, so sparse must be placed"):
        Nest(name="x", levels=nest.levels, placement=kept)


@pytest.mark.parametrize("start", [*CLASSIC, *ENGINES])
def test_every_move_of_a_primitive_is_a_nest_or_has_a_reason(start: str) -> None:
    """Moved to where it was, a primitive changes nothing; elsewhere most places are impossible."""
    nest = NESTS[start]
    moves = [
        (primitive, home, level)
        for primitive, home in nest.placement
        if primitive != "sync"  # one for each kind of lane: a move takes them all
        for level in nest.levels
    ]
    outcomes = {move: outcome(nest, move[0], move[2]) for move in moves}
    for (primitive, home, level), found in outcomes.items():
        if home == level:
            assert found == nest.depth(primitive)
        assert found == nest.levels.index(level) + 1 or str(found).startswith(
            f"nest {start!r} is not possible: "
        )
    elsewhere = [found for (_, home, level), found in outcomes.items() if home != level]
    assert sum(isinstance(found, str) for found in elsewhere) > len(elsewhere) / 2


def outcome(nest: Nest, primitive: str, level: str) -> int | str:
    """Return the depth of the moved primitive, or the reason why it cannot be there."""
    try:
        return nest.moved(primitive, level).depth(primitive)
    except InputError as error:
        return str(error)
