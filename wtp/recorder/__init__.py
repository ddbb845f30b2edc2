"""Recording a room to files that any player opens, without re-encoding."""
