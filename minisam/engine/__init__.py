"""The data engine: the model annotates, people correct, the model is retrained, and the human share falls."""
