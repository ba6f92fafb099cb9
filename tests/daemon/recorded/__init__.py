"""A real daemon's life, call by call, and every disk that a power cut could have made of it."""
