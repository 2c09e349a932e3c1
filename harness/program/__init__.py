"""Programs, outcomes and traces: the vocabulary that every other part shares."""
