//! How much a package or an index may hold before it is refused.

/// Upper bounds for what is read out of untrusted bytes. Every one is checked while reading,
/// before memory is taken for it.
///
/// The default is many times what Alpine's indexes and a node's packages hold. With it, reading takes at most
/// 128 MiB of memory whatever is read, besides the packed bytes themselves and what the sink keeps of files:
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
    /// How many times its packed bytes a data member may unpack to, once that is more than 64 MiB. What is no
    /// bomb packs to more than a thirtieth.
    pub ratio: u64,
    /// Bytes of one file in a package, unpacked.
    pub file_size: u64,
    /// Paths in one package.
    pub entries: usize,
    /// Bytes of all paths, link targets and extended attributes of one package; an attribute counts 64 more.
    pub names_size: u64,
    /// Bytes of the signature member and of the control member, each, unpacked.
    pub control_size: u64,
    /// Bytes of `APKINDEX.tar.gz`, and of what it unpacks to.
    pub index_size: u64,
    /// Records in one index.
    pub packages: usize,
    /// Dependencies, provides, triggers and the like of one package, or of all packages of one index.
    pub relations: usize,
    /// Bytes of all extended headers (PAX records, long names) before one path.
    pub header_size: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            package_size: 1 << 30,
            unpacked_size: 2 << 30,
            ratio: 200,
            file_size: 1 << 30,
            entries: 150_000,
            names_size: 24 << 20,
            control_size: 4 << 20,
            index_size: 24 << 20,
            packages: 50_000,
            relations: 400_000,
            header_size: 1 << 20,
        }
    }
}
