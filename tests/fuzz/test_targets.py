"""Every reader returns a value or refuses in a sentence, whatever it is given."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutations import contents
from tests.fuzz.targets import refuses_or_reads, targets
from workloads import InputError, parse_pattern

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


@given(text=st.text(":xt0123456789.e-", max_size=16) | st.text(max_size=64))
def test_a_refusal_of_a_pattern_says_what_it_must_be(text: str) -> None:
    try:
        parse_pattern(text)
    except InputError as error:
        sentence = str(error)
        assert " must " in sentence
        assert ", not " in sentence
