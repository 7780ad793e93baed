//! One module a command: arguments in, results on standard output.

#![expect(clippy::doc_markdown, reason = "these are the words of `--help`, not of a page")]

pub(crate) mod audit;
pub(crate) mod build;
pub(crate) mod cache;
pub(crate) mod check;
pub(crate) mod copy;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod files;
pub(crate) mod index;
pub(crate) mod init;
pub(crate) mod inspect;
pub(crate) mod keys;
pub(crate) mod lock;
pub(crate) mod login;
pub(crate) mod matrix;
pub(crate) mod needs;
pub(crate) mod node;
pub(crate) mod outdated;
pub(crate) mod preflight;
pub(crate) mod publish;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod registry;
mod setting;
pub(crate) mod slim;
pub(crate) mod tune;
pub(crate) mod variants;
pub(crate) mod vendor;
pub(crate) mod verify;
pub(crate) mod versions;
pub(crate) mod why;
