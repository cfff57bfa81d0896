"""What is asked of a corpus: concepts and prototypes, counting, search, FAISS indices."""
