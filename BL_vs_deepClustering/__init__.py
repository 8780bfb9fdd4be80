"""Deep clustering beside BigLearn-EM on Fashion-MNIST: the commands, and the peers on torch."""
