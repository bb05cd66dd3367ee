"""The only door to llama.cpp: model, context, vocabulary, chat template, GGUF header, taps."""
