//! How much a package or an index may hold before it is refused.

/// Upper bounds for what is read out of untrusted bytes. Every one is checked while reading,
/// before memory is taken for it.
///
/// The default holds for everything that Alpine ships, with room to spare:
///
/// ```
/// let limits = kimg_apk::Limits { file_size: 1 << 20, ..kimg_apk::Limits::default() };
/// assert!(limits.unpacked_size > limits.file_size);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one `.apk`, as packed.
    pub package_size: u64,
    /// Bytes of a package's data tar, unpacked: contents, headers and padding.
    pub unpacked_size: u64,
    /// Bytes of one file in a package, unpacked.
    pub file_size: u64,
    /// Paths in one package.
    pub entries: usize,
    /// Bytes of the signature member and of the control member, each, unpacked.
    pub control_size: u64,
    /// Bytes of `APKINDEX.tar.gz`, and of what it unpacks to.
    pub index_size: u64,
    /// Bytes of all extended headers (PAX records, long names) before one path.
    pub header_size: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            package_size: 1 << 30,
            unpacked_size: 2 << 30,
            file_size: 1 << 30,
            entries: 500_000,
            control_size: 16 << 20,
            index_size: 64 << 20,
            header_size: 1 << 20,
        }
    }
}
