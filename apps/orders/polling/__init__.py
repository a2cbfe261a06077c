"""When to ask: what completions teach, and the cheapest next check that is never later than the fixed schedule."""
