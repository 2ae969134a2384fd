"""Backpropagation through time: loops over arrays, with no layer in them."""
