"""`limpet check`: an app is put through what production will do to it.

Theory. Its processes, the *replicas*, run behind our own balancer (`stage`), so that everything which
a remote probe has to wait for can be brought about: another balancer mode, a killed replica, a
restart, one more and one fewer, a wrong clock, a store that is away, a request that is slow while
somebody logs in. Each of these is a *scene*: a session from before, what is done, and what became of
the session. `inside` is what runs in the replicas besides the app; it says who answered, and what a
process knows of itself (hashes of its secrets, what it keeps in memory). The scenes yield `Evidence`,
and the same checks as for a remote site judge it.
"""
