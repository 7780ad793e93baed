//! What kind of error it is, and so which exit code the program ends with.

/// The kinds of error that kimg tells apart, each with its own exit code.
///
/// Every error type of kimg's crates says its class and, where there is something
/// to do about it, a hint: see [`Classified`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorClass {
    /// The command line or a settings file asks for something that can't be meant.
    Usage,
    /// A signature, key, checksum, size or digest does not fit: the bytes are not what they claim.
    Verification,
    /// Bytes that are not in the format they should be in.
    Malformed,
    /// Input larger or deeper than a limit allows.
    Limit,
    /// Something wanted does not exist or can't be had together: a package, a program, a library.
    Unresolvable,
    /// A host could not be reached, or answered wrongly.
    Network,
    /// A registry refused or broke its protocol.
    Registry,
    /// Who asks is not known, or may not do it.
    Authentication,
    /// Something is there already and would be replaced: a tag that names something else.
    Conflict,
    /// Some of what belongs together is done and some is not. Doing it again completes it.
    HalfDone,
    /// The local disk: not found, not allowed, full.
    LocalIo,
    /// A program that kimg starts is missing or failed.
    External,
    /// An image is larger than its budget.
    OverBudget,
    /// A lock or a generated file is no longer true.
    Stale,
}

impl ErrorClass {
    /// The exit code of the program for an error of this class.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Verification => 10,
            Self::Malformed => 11,
            Self::Limit => 12,
            Self::Unresolvable => 13,
            Self::Network => 20,
            Self::Registry => 21,
            Self::Authentication => 22,
            Self::Conflict => 23,
            Self::HalfDone => 24,
            Self::LocalIo => 30,
            Self::External => 31,
            Self::OverBudget => 40,
            Self::Stale => 41,
        }
    }
}

/// An error that knows its class and, perhaps, what to do about it.
pub trait Classified: std::error::Error {
    /// The kind of error, which decides the exit code.
    fn class(&self) -> ErrorClass;

    /// What a person can do next, as one sentence without a final full stop.
    fn hint(&self) -> Option<String> {
        None
    }
}
