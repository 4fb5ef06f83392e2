"""An app as several server processes: `limpet serve`.

`ReplicaSet` starts the processes, passes on their output and starts again what dies; `child`
is what runs in each of them. This package knows nothing of balancing: to the balancer a
replica is a target like any other.
"""
