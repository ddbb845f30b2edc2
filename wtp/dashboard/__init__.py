"""What `wtp dashboard` watches: routers, brokers and whoever shows its figures, as one snapshot."""
