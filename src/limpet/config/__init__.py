"""The configuration: its schema, reading it, and what it means for the core."""
