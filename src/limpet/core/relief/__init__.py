"""Relief: a target that carries more than its share lets sessions go that lose nothing by it.

`bound` is how much a target may carry at a moment, `demand` what its sessions ask of it in the long
run, `budget` how many of them may move; `relief` decides with these for one request.
"""
