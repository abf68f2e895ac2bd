"""Run directories: naming, what is written, reading one back."""
