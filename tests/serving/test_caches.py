"""Pages are counted, never over-full, and all come back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.kv_layout import KvLayout
from simulator.serving.caches import Cache, ChannelTiles, TokenPages

LAYOUT = KvLayout(heads=2, head_width=8, banks=4, row_elements=16)
moves = st.lists(
    st.tuples(st.sampled_from(["place", "grow", "release"]), st.integers(0, 5), st.integers(1, 90))
)


def pages_of(kind: str, tokens: int) -> int:
    return -(-tokens // 7) if kind == "pool" else LAYOUT.tiles(tokens)


def empty(kind: str) -> Cache:
    if kind == "pool":
        return TokenPages(capacity_pages=20, page_tokens=7)
    assignment = "least-load" if kind == "packed" else "round-robin"
    return ChannelTiles(layout=LAYOUT, channels=3, tiles_per_channel=60, assignment=assignment)


@pytest.mark.parametrize("kind", ["pool", "packed", "in turn"])
@given(moves)
def test_pages_held_are_those_of_the_tokens_and_never_more_than_there_are(kind, moves) -> None:
    cache = empty(kind)
    held: dict[int, int] = {}
    for move, request, tokens in moves:
        if move == "release" and request in held:
            cache.release(request)
            del held[request]
        elif move == "place" and request not in held and cache.place(request, tokens):
            held[request] = tokens
        elif move == "grow" and request in held and cache.grow(request, tokens):
            held[request] = max(tokens, held[request])
        assert cache.used_pages == sum(pages_of(kind, tokens) for tokens in held.values())
        assert cache.used_pages <= cache.capacity_pages
        for each in held:
            assert each in cache.rivals(each)
    for each in held:
        cache.release(each)
    assert cache.used_pages == 0


@pytest.mark.parametrize("kind", ["pool", "packed", "in turn"])
@given(st.integers(1, 200))
def test_what_an_empty_cache_holds_can_be_placed_and_nothing_else(kind: str, tokens: int) -> None:
    assert empty(kind).place(0, tokens) == empty(kind).holds(tokens)


def test_a_channel_never_exceeds_its_own_tiles() -> None:
    cache = empty("packed")
    assert isinstance(cache, ChannelTiles)
    request = 0
    while cache.place(request, 40):
        request += 1
    assert request == 3 * (60 // LAYOUT.tiles(40))
    assert max(cache.used) <= 60


def test_requests_go_to_the_least_loaded_channel_or_in_turn() -> None:
    packed, turn = empty("packed"), empty("in turn")
    for request, tokens in enumerate((40, 5, 5, 5)):
        assert packed.place(request, tokens)
        assert turn.place(request, tokens)
    assert [packed.channel_of(request) for request in range(4)] == [0, 1, 2, 1]
    assert [turn.channel_of(request) for request in range(4)] == [0, 1, 2, 0]
