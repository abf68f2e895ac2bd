"""The forecaster: backbone, head, loss and optimizer. Models know nothing of files."""
