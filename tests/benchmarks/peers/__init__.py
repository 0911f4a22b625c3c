"""Other tools asked the same question, timed beside ours in one run.

`python -m tests.benchmarks.peers` starts them. Each file in this folder but `__main__` is run by a
Python in which its tool is installed, and by nothing else: it takes m, k and n, answers one product
and prints a line of JSON.
"""
