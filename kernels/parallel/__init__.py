"""Ranks that work together, and the functions by which Python starts them."""
