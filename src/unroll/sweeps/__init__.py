"""Sweeps: many runs of one command, and their leaderboard."""
