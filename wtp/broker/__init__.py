"""Everything that speaks Pulsar: the client, the admin client, and the embedded broker."""
