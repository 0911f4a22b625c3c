"""Change seeds: cut, repeat, swap and overwrite pieces, and put in words of the format."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.fuzz.targets import Target

EDITS = 6
"""Most changes to one seed."""


@st.composite
def contents(draw: st.DrawFn, target: Target) -> bytes:
    """Draw a seed with a few changes, or bytes from nothing."""
    seed = draw(st.sampled_from([*target.seeds, b""]))
    changed = bytearray(seed)
    for _ in range(draw(st.integers(0, EDITS))):
        at = draw(st.integers(0, len(changed)))
        length = draw(st.integers(0, min(64, len(changed) - at)))
        changed[at : at + length] = draw(_replacements(target, seed))
    return bytes(changed)


def _replacements(target: Target, seed: bytes) -> st.SearchStrategy[bytes]:
    pieces = st.tuples(st.integers(0, len(seed)), st.integers(0, 64)).map(
        lambda place: seed[place[0] : place[0] + place[1]]
    )
    numbers = st.one_of(st.integers(), st.floats()).map(lambda number: str(number).encode())
    words = [st.sampled_from(target.words)] if target.words else []
    texts = st.text(max_size=8).map(lambda text: text.encode("utf-8", errors="replace"))
    return st.one_of(st.binary(max_size=8), pieces, numbers, texts, *words)
