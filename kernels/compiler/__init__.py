"""How all is compiled and kept on disk: numba's options, the cache, leaves, a user's functions."""
