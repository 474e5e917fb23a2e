"""Small trainings that differ in one thing. They use training and transfer together."""
