"""Replay: the past of a room, all tracks in step."""
