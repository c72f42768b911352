"""The machine: which CPU it has, how many there are, and how many threads a call may have."""
