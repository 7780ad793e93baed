//! The signature member: whose signatures are in it, and whether one of them fits.

use crate::error::{Member, Problem};
use crate::keys::Algorithm;
use crate::member::{Unpacked, small_files};
use crate::{KeyRing, Limits, packing};

/// One entry of the signature member.
pub(crate) struct Signature<'a> {
    /// `.SIGN.<ALG>.<key>`
    entry: String,
    bytes: &'a [u8],
}

/// The signatures in the first member; none if it is no signature member at all.
pub(crate) fn signatures<'a>(
    member: &'a Unpacked<'_>,
    limits: &Limits,
) -> Result<Vec<Signature<'a>>, Problem> {
    let mut found = Vec::new();
    let mut others = false;
    small_files(member, Member::Signature, limits, |name, bytes| {
        if name.starts_with(".SIGN.") {
            found.push(Signature { entry: name.to_owned(), bytes });
        } else {
            others = true;
        }
        Ok(())
    })?;
    if others && !found.is_empty() {
        let reason = "it holds more than signatures".to_owned();
        return Err(Problem::Tar { member: Member::Signature, reason });
    }
    Ok(found)
}

/// Nothing signs the signature member itself, so it has to be packed in one way.
pub(crate) fn check_packing(member: &Unpacked<'_>) -> Result<(), Problem> {
    if member.bytes.len() > packing::LARGEST {
        let limit = packing::LARGEST as u64;
        return Err(Problem::Limit { what: "the unpacked signature member", limit });
    }
    packing::check(member.packed, &member.bytes).map_err(Problem::SignaturePacking)
}

/// Verifies the first signature whose key is in the ring; gives the key's name.
pub(crate) fn verify(signatures: &[Signature<'_>], signed: &[u8], keys: &KeyRing) -> Result<String, Problem> {
    let mut unknown = Vec::new();
    for signature in signatures {
        let Some((algorithm, key)) = Algorithm::and_key(&signature.entry) else {
            return Err(Problem::UnknownSignature { name: signature.entry.chars().take(200).collect() });
        };
        match keys.verify(key, algorithm, signed, signature.bytes) {
            Some(true) => return Ok(key.to_owned()),
            Some(false) => {
                return Err(Problem::WrongSignature { key: key.to_owned(), algorithm: algorithm.word() });
            }
            None => unknown.push(key.to_owned()),
        }
    }
    if unknown.is_empty() {
        return Err(Problem::Unsigned);
    }
    Err(Problem::UnknownKey { keys: unknown, known: keys.names().map(str::to_owned).collect() })
}
