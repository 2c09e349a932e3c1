"""Stories that more than one contract draws programs around; those of a single contract stand beside its test."""

from __future__ import annotations

PARENT_STORES_AFTER_FORK = """
p0: map a 2 rw private anon
p0: store a[0] 0x11
p0: fork p1
p0: store a[0] 0x22
p1: load a[0]
"""
"""What the parent stores after fork is its own."""

CHILD_STORES_AFTER_FORK = """
p0: map a 2 rw private anon
p0: store a[0] 0x11
p0: fork p1
p1: store a[0] 0x22
p0: load a[0]
"""
"""What the child stores is its own."""

CHILD_STORES_AFTER_A_ROUND_TRIP = """
p0: map a 2 rw private anon
p0: store a[0] 0x11
p0: fork p1
p1: protect a[0] r
p1: protect a[0] rw
p1: store a[0] 0x22
p0: load a[0]
"""
"""It still is when the child has given its right to write away and taken it back."""

STORE_TO_WHAT_IS_READ_ONLY_NOW = """
p0: map a 2 rw private anon
p0: store a[0] 0x11
p0: protect a[0] r
p0: store a[0] 0x22
"""
"""A store to a resident page that has become read-only."""
