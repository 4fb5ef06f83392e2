"""What runs in a replica besides the app, started as `python -m limpet.doctor.rehearsal.inside`.

It names the replica in every response, obeys the orders of the rehearsal (which prove themselves by a
token that no client knows) and answers questions about the process. The app's code, its framework
and its server stay as they are, but for a clock that can be set, and hooks that can make a view slow.
"""
