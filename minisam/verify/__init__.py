"""Is it the same model? Every kernel and every stage beside torch."""
