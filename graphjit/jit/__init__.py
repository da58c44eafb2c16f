"""`@graphjit.function`: specializations, the native way in, the compile cache."""
