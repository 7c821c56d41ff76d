"""The nano model: its corpus of generated repairs, its training, its evaluation."""
