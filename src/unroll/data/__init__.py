"""Series, windows and the Lightning data modules. Data code knows nothing of models."""
