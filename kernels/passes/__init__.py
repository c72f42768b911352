"""The forward and backward passes in each regime, and the step that runs them."""
