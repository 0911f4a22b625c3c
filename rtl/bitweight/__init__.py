"""RTL of the bit-weight engines: encoders, compressor trees, elements, arrays."""
