"""What a provider says it sold us, compared with our books: read, aligned, mended where it is certain, else asked."""
