"""pagepact: property-based contracts for the memory semantics of kernels."""
