"""The benchmark of whole fits: what is measured (works), by whom (contenders), how (measure), and what it says."""
