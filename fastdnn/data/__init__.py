"""Data sets in memory: what files hold, prepared for a network."""
