"""Every reader returns a value or refuses in a sentence, whatever it is given."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutations import contents
from tests.fuzz.targets import refuses_or_reads, targets

EXAMPLES = 60


@pytest.mark.parametrize("name", targets())
def test_the_seeds_are_read(name: str) -> None:
    target = targets()[name]
    assert [seed for seed in target.seeds if not refuses_or_reads(target, seed)] == []


@pytest.mark.parametrize("name", targets())
def test_anything_is_read_or_refused(name: str) -> None:
    target = targets()[name]

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(content=contents(target))
    def check(content: bytes) -> None:
        refuses_or_reads(target, content)

    check()


@given(content=st.binary(max_size=64))
def test_a_refusal_of_a_pattern_says_something(content: bytes) -> None:
    refuses_or_reads(targets()["pattern"], content)
