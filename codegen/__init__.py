"""Program -> something that runs."""
