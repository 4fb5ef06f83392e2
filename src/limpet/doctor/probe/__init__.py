"""The part of the doctor that asks: one client with a budget, jars, logins, phases.

It judges nothing. What it learns becomes `Evidence`; when it has to stop early, what it has learnt so
far does. It knows neither the balancer nor the app's processes, so that it works on any site.
"""
