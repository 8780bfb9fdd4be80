"""BigLearn-GAN: one generator for every conditional law of the data, and how well it does."""
