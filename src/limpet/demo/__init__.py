"""`limpet demo`: the three acts, on real processes, to watch and to touch.

Theory of operation. Five processes of a small shop run behind a balancer, a store of sessions stands
beside them, and a crowd of simulated people reads the shop over HTTP, each with a cookie jar. A *mode*
is one way of keeping people logged in; to change it begins an *act*: all servers are back, everybody
comes with an empty cookie jar, and the figures start at zero. *Events* (a crowd, a kill, ...) happen
within an act. Nothing is played: each figure is what the crowd met, each event is done to a process.
"""
