//! A built package: the file, its members and its record; and the member with the signature.

use std::fmt::Write as _;

use super::archive::{TarEntry, cut_tar, gzip};
use crate::Signer;

/// A package file, and what an index says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its record in an index: letters and values, in order. Change a value to make an index that lies.
    pub fields: Vec<(char, String)>,
    /// The bytes of the signature, control and data members, as compressed.
    pub member_sizes: [usize; 3],
    /// The whole file.
    pub bytes: Vec<u8>,
}

impl BuiltPackage {
    /// What a repository calls the file.
    pub fn file_name(&self) -> String {
        format!("{}-{}.apk", self.name, self.version)
    }

    /// The signature, control and data members, as compressed.
    pub fn members(&self) -> [&[u8]; 3] {
        let (signature, rest) = self.bytes.split_at(self.member_sizes[0]);
        let (control, data) = rest.split_at(self.member_sizes[1]);
        [signature, control, data]
    }

    /// The record as an index writes it, one line a field, without the empty line behind.
    pub fn record(&self) -> String {
        self.fields.iter().fold(String::new(), |mut text, (letter, value)| {
            let _ = writeln!(text, "{letter}:{value}");
            text
        })
    }

    /// Sets a field of the record, in place or behind the others.
    pub fn set_field(&mut self, letter: char, value: impl Into<String>) {
        match self.fields.iter_mut().find(|(found, _)| *found == letter) {
            Some(field) => field.1 = value.into(),
            None => self.fields.push((letter, value.into())),
        }
    }
}

/// The member that stands before what it signs: a cut tar with one file that is named after the key.
pub(crate) fn signature_member(signer: &Signer, signed: &[u8]) -> Vec<u8> {
    let name = format!(".SIGN.RSA256.{}", signer.key_name());
    gzip(&cut_tar(&[TarEntry::file(name, signer.sign(signed))]))
}
