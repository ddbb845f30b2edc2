"""Talking in a room: lines out by WebTransport, everybody's lines in from the topic."""
