//! Builds small signed Alpine repositories and ELF programs, and with them the embedded sample.
