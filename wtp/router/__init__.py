"""The router: takes WebTransport sessions, counts, forwards objects to the broker.

peer    one session: its control conversation and its streams
routes  one track on its way to the broker: queue, drop policy, receipts
rooms   which track is whose, namespaces and their policies, producers
https   /health, /ready, /clock, /cert-hash, /metrics, /stats
run     the role that puts them together
"""
