"""Ways to log in. A way that sends credentials can be used again; brought cookies are one session.

To add one: a file here, and an option in `limpet.cli.doctor`.
"""
