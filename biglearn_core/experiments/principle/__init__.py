"""The principle simulations of Big Cooperative Learning: local optima that tasks do not share."""
