"""Training data: files of Fashion-MNIST, and scenes of emoji built from public package archives."""
