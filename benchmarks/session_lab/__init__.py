"""What `benchmarks/sessions.py` is made of."""
