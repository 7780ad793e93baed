//! Computes the smallest set of files that a set of programs needs, with the reason for each.
