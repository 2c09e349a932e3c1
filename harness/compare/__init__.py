"""Holds what a guest did against what the model allows, and names the contract that a difference breaks."""

from harness.compare.compare import compare

__all__ = ["compare"]
