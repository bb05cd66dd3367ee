"""The patch to llama.cpp, and what it is made on."""
