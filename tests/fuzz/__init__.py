"""Fuzzing: whatever a reader is given, it returns a value or raises `InputError`, soon.

`targets` names the readers and their seeds, `test_targets` runs each for a moment with Hypothesis,
`python -m tests.fuzz --seconds 600` (or `make fuzz`) for as long as is wanted, with Atheris too
where it is installed. What was found is kept in `test_findings`.
"""
