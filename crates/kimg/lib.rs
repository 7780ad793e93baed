//! The kimg command line.
