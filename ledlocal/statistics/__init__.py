"""What an evaluation's numbers are worth: pure functions on arrays, one row per problem."""
