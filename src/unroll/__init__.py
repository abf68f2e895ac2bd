"""Unroll: recurrent sequence forecasting, honest, fast and plain.

Importing this package imports neither torch nor lightning: command lines answer before those are needed.
"""
