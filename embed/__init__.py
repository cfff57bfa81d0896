"""The corpus and how it comes to be: table, space, sources, decoding, encoders, the job."""
