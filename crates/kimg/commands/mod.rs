//! One module a command: arguments in, results on standard output.

pub(crate) mod build;
pub(crate) mod files;
pub(crate) mod init;
pub(crate) mod lock;
pub(crate) mod matrix;
mod setting;
pub(crate) mod variants;
pub(crate) mod why;
