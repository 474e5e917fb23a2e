"""The data engine: the model annotates, people correct, the model is trained again."""
