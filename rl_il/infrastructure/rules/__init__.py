"""The variants of DAgger: rules that ask for fewer labels."""
