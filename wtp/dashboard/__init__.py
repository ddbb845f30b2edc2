"""What `wtp dashboard` watches: routers, brokers and whoever shows its figures, as one snapshot.

`run` asks them, each at its own pace and never more than once a second; `routerfigures` and
`processfigures` turn the answers (counts that only grow) into figures of the last second; `view`
puts all of it side by side. What does not answer has no figures: they are None until it is back.
"""
