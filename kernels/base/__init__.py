"""What knows no compiler: NumPy arrays, literal numbers, names, warnings, locks after a fork."""
