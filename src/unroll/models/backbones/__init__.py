"""Recurrent backbones, one a file."""
