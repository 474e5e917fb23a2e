"""Programs that build, serve and print the textbook."""
