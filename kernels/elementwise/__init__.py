"""Formulas applied to strips: activations, dropout, losses, update rules."""
