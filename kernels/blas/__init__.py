"""Products and sums inside one rank's memory: tiles, packing, dot products, reductions."""
