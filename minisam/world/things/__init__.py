"""The things of the world: creatures, dishes, vehicles and other objects."""
