"""Three newcomers' walks through the project, as Markdown transcripts that are replayed.

`transcript` says how they are written; `test_walks` replays each in a fresh copy of the checkout.
"""
