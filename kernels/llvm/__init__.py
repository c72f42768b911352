"""What numba lacks, as LLVM's instructions: addresses, vectors, formulas, elementary functions."""
