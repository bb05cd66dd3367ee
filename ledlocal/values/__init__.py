"""Plain values that every floor speaks: parameters, events, errors. Standard library only."""
