"""BigLearn-EM beside deep clustering on Fashion-MNIST."""
