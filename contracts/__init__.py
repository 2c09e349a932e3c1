"""Contracts: sentences about kernel memory, each a property-based test against the `guest` fixture."""
