"""Heads, one a file: from the backbone's last feature to the forecast."""
