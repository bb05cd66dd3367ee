"""`ledlocal bench`: how fast tokens are chosen, beside llama.cpp's own ways of choosing them."""
