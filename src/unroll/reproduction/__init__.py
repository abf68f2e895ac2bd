"""The reference experiments: what was published, what our runs say, one page that holds both."""
