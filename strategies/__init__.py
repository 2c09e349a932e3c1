"""Hypothesis strategies that draw programs: `from strategies.programs import programs`."""
