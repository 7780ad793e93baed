//! PAX records: `LENGTH KEY=VALUE\n`, where the length counts itself (POSIX.1-2001, pax, "Extended Header").

use std::collections::BTreeMap;

/// Records by key, as one extended header holds them.
pub(crate) type Records = BTreeMap<String, Vec<u8>>;

/// The keyword under which GNU tar, Go and libarchive keep extended attributes.
pub(crate) const XATTR: &str = "SCHILY.xattr.";

/// The record under which GNU tar lists the pieces of a sparse file: offsets and lengths, commas between.
pub(crate) const PIECES: &str = "GNU.sparse.map";
/// What an older GNU tar says in turn for each piece, in records of their own.
const PIECE: [&str; 2] = ["GNU.sparse.offset", "GNU.sparse.numbytes"];

/// The bytes of an extended header, its records sorted by key.
pub(crate) fn encode(records: &Records) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in records {
        // A space, `=` and a newline; then as many digits as the length with its own digits has.
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while rest + length.to_string().len() != length {
            length = rest + length.to_string().len();
        }
        bytes.extend_from_slice(format!("{length} {key}=").as_bytes());
        bytes.extend_from_slice(value);
        bytes.push(b'\n');
    }
    bytes
}

/// The records of an extended header. Values may hold any bytes, newlines too; a key said twice counts as said last, but
/// for the pieces of a sparse file, which are put together into one record.
pub(crate) fn decode(mut bytes: &[u8]) -> Result<Records, String> {
    let (mut records, mut pieces) = (Records::new(), Vec::new());
    while !bytes.is_empty() {
        let space = bytes.iter().take(20).position(|b| *b == b' ').ok_or("a PAX record without a length")?;
        let length = std::str::from_utf8(&bytes[..space])
            .ok()
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|digits| digits.parse::<usize>().ok())
            .ok_or("a PAX record whose length is no number")?;
        let record = bytes.get(space + 1..length).ok_or("a PAX record longer than its header")?;
        let record = record.strip_suffix(b"\n").ok_or("a PAX record that doesn't end in a newline")?;
        let equals = record.iter().position(|b| *b == b'=').ok_or("a PAX record without `=`")?;
        let key = std::str::from_utf8(&record[..equals]).map_err(|_| "a PAX keyword that is not UTF-8")?;
        bytes = &bytes[length..];
        match PIECE.iter().position(|of_piece| *of_piece == key) {
            Some(turn) if pieces.len() % 2 == turn => pieces.push(record[equals + 1..].to_vec()),
            Some(_) => return Err("the pieces of a sparse file are not listed in turn".to_owned()),
            None => {
                records.insert(key.to_owned(), record[equals + 1..].to_vec());
            }
        }
    }
    if !pieces.is_empty() {
        records.insert(PIECES.to_owned(), pieces.join(&b','));
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_length_counts_its_own_digits() {
        // With a two-digit length, 91 bytes would make 100, which has three digits: 101.
        for (value, start) in [(1, "9 path="), (2, "11 path="), (90, "99 path="), (91, "101 path=")] {
            let records = Records::from([("path".to_owned(), vec![b'x'; value])]);
            let bytes = encode(&records);
            assert!(bytes.starts_with(start.as_bytes()), "{value}: {}", String::from_utf8_lossy(&bytes));
            assert_eq!(decode(&bytes).unwrap(), records);
        }
    }

    #[test]
    fn broken_records_are_named() {
        for bytes in [
            "path=x\n",
            "99 path=x\n",
            "11 path=x\n",
            "9 path=x-",
            "7 path\n",
            "2 x\n",
            "-9 path=x\n",
            "0 a=b\n",
        ] {
            assert!(decode(bytes.as_bytes()).is_err(), "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn any_records_are_read_as_they_were_written(
            records in prop::collection::btree_map("[a-zA-Z.]{1,20}", prop::collection::vec(any::<u8>(), 0..120), 0..6)
        ) {
            prop_assert_eq!(decode(&encode(&records)).unwrap(), records);
        }

        #[test]
        fn any_bytes_are_records_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn bytes_that_look_like_records_are_records_or_an_error(text in "[0-9]{1,3} [a-c=]{0,4}\n?[0-9 a=\n]{0,12}") {
            let _ = decode(text.as_bytes());
        }
    }
}
