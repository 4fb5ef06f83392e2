"""Why are my users logged out?

Two commands share one frame. A *probe* (`limpet doctor`, from outside; `limpet check`, with the app's
processes in hand) gathers `Evidence`, a value. The *checks* are pure: each reads the evidence and
answers for one cause whether it is there, is ruled out, or was not tested. The *verdict* puts the
answers in order, and the reports only print it. So every judgement can be tested without a network.

To add a check: a file in `checks/`, a line in `checks.CHECKS`, a page in docs/doctor/.
"""
