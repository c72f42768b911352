"""Data sets in memory, prepared for a network, and sources of batches for larger ones."""

from .parquet import ParquetBatches

__all__ = ["ParquetBatches"]
