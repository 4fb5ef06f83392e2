"""The control plane: the single writer of targets' states and of the snapshot."""
