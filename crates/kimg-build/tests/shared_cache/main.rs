//! Machines that share their work by way of a registry, and what becomes of a cache that somebody spoiled.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod exports;
mod machine;
mod machines;
mod poison;
mod programs;
