"""The publisher: captures, encodes and sends the tracks of one named client over one session."""
