"""Does a decoding method help? Tasks with problems whose answers can be checked."""
