"""The lectures' sentiment classifiers: they read film reviews and say whether they praise, and by which words."""
