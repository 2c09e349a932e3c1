"""What a person gets to see: failures, failure files, the summary of a run. Plain text, no colours."""
