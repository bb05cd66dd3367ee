"""The engine: sequences, a scheduler, and the one decode loop."""
