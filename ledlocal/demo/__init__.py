"""The embedded demo model: a 1.3-million-parameter reasoner that solves number puzzles."""
