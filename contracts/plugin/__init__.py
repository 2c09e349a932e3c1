"""What makes `pytest contracts` what it is: options, the guest of a run, reports, progress."""
