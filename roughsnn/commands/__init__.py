"""What the command `roughsnn` can do beside experiments: one module each, `Settings` and `run`."""
