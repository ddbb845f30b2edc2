"""What `wtp doctor` looks at: this machine, its libraries, a router, a broker, the clock."""
