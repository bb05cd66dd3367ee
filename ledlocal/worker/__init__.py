"""The engine in a process of its own: a crash of the library is one line, never a lost terminal or conversation."""
