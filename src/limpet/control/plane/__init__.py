"""The data plane as control sees it: in this process (`local`) or in several workers (`workers`)."""
