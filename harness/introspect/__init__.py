"""The view from outside: page tables and counts, read from the RAM of a guest that publishes nothing.

`page_walk` knows the formats of page tables, `roots` finds the root table of each process, `view` puts together what the
processes of a program map. Nothing here trusts the guest: every number read is checked before it is used.
"""
