"""Area, clock and energy of designs with open tools and an open cell library."""
