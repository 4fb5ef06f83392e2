"""What the benchmarks share: processes on their cores, proxies alike in their configuration, and load."""
