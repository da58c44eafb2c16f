"""What runs compiled programs: a warm start loads this and no code generator."""
