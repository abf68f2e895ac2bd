"""Unroll's sweepers. Hydra imports every module here at each start: they import what they need when they are used."""
