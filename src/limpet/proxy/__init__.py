"""The data plane: moves bytes between clients and targets as `core.route` decides.

It reads one `Snapshot` per request and imports nothing but core and errors.
"""
