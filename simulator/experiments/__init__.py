"""One module per paper, one function per exhibit: how this program computes a published number.

The function for `paper/some-exhibit` is `simulator.experiments.paper.some_exhibit`. It takes
nothing and returns a number for every quantity of the exhibit, in its unit. It may read shapes and
the like from the inputs of `simulator.published.read`, never the published number.
"""
