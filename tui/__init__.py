"""The terminal UI, installed as `ledlocal_tui`: views of the engine's events, without any engine knowledge."""
