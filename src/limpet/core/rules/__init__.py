"""Listener rules: which requests go where, by what they ask for.

To add a condition: a file in `conditions/` and a line in `CONDITIONS`. To add an action: a file in
`actions/` and a line in `ACTIONS`. Both are described in docs/rules.md.
"""
