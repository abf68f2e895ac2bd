"""The worker side: each contender is a file with `fit(sizes, seed, folder) -> Done`, and times its own training.

The clock of `fit` runs from a network and data that are ready to the end of the training. Importing, the series, its
windows and the network are outside it for all; where a library hides them in its own `fit`, its file says so.
"""
