"""Pictures: where they come from, how they are coded, where they are shown.

The only place that imports PyAV, OpenCV and sounddevice, and each of them late: the test pattern,
H.264 and file sources work on a machine where neither OpenCV nor PortAudio can be loaded.
"""
