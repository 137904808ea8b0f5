"""The gradient laboratory: every rule on the same networks, the same losses and the same data."""
