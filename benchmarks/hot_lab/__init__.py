"""The lab of `hot_server.py`: five targets of fixed capacity, users with cookie jars, and balancers."""
