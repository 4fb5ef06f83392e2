"""Limits per client: who counts as one (`numbering`), how fast it may ask (`rate`), how often it may connect.

Memory does not grow with the number of clients, and no decision gets slower with it.
"""
