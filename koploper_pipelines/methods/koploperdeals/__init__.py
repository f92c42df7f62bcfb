"""Methods of the portfolio of deals, as pure functions on frames and arrays."""
