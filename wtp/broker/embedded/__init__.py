"""The embedded broker: Pulsar's binary protocol and admin REST on one machine, one folder."""
