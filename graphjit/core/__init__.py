"""What everything stands on: types, extents, errors, options, memory. No ops, no graphs."""
