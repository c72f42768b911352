"""One layer's equations on a rank's share: products with what follows, and other operations."""
