"""BigLearn-EM on the pixels of Fashion-MNIST."""
