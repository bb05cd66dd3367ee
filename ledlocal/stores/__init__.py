"""Places where model files lie: the Hugging Face hub's cache, Ollama's store, LM Studio's folder. Read in place."""
