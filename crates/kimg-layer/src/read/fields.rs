//! One header block, as ustar, GNU tar and their elders write it.

use crate::header::BLOCK;

/// One header block, read.
pub(super) struct Fields {
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) kind: u8,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) size: u64,
    pub(super) mtime: u64,
    /// The numbers of a device.
    pub(super) device: (u32, u32),
    /// Whether it is a sparse file of GNU's old form, with a list of pieces where ustar has the prefix.
    pub(super) is_old_sparse: bool,
}

impl Fields {
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, String> {
        let sum: u64 = block
            .iter()
            .enumerate()
            .map(|(at, b)| u64::from(if (148..156).contains(&at) { b' ' } else { *b }))
            .sum();
        let said = number(&block[148..156], "checksum")?;
        if sum != said {
            return Err(format!("a header's checksum is {said}, its bytes add up to {sum}"));
        }
        let mut name = text(&block[..100]);
        // GNU's own format has other things where ustar has the prefix.
        let prefix = text(&block[345..500]);
        if &block[257..263] == b"ustar\0" && !prefix.is_empty() {
            name = [&prefix[..], b"/", &name].concat();
        }
        let device = |at: usize| match block[156] {
            b'3' | b'4' => number(&block[at..at + 8], "device number")
                .and_then(|number| u32::try_from(number).map_err(|e| e.to_string())),
            _ => Ok(0),
        };
        Ok(Self {
            device: (device(329)?, device(337)?),
            is_old_sparse: block[156] == b'S' && &block[257..265] == b"ustar  \0",
            name,
            link: text(&block[157..257]),
            kind: block[156],
            mode: u32::try_from(number(&block[100..108], "mode")? & 0o7777).map_err(|e| e.to_string())?,
            uid: number(&block[108..116], "uid")?,
            gid: number(&block[116..124], "gid")?,
            size: number(&block[124..136], "size")?,
            mtime: number(&block[136..148], "mtime")
                .or_else(|p| if block[136] == 0xff { Ok(0) } else { Err(p) })?,
        })
    }
}

fn text(field: &[u8]) -> Vec<u8> {
    field[..field.iter().position(|b| *b == 0).unwrap_or(field.len())].to_vec()
}

/// Octal digits between blanks, or GNU's binary form with the highest bit set.
pub(super) fn number(field: &[u8], what: &str) -> Result<u64, String> {
    let bad = || format!("a header's {what} is {:?}, which is no number", String::from_utf8_lossy(field));
    if field[0] == 0x80 {
        return field[1..]
            .iter()
            .try_fold(0_u64, |all, b| all.checked_mul(256).map(|all| all + u64::from(*b)).ok_or_else(bad));
    }
    let digits = field.split(|b| *b == 0).next().unwrap_or_default().trim_ascii();
    digits.iter().try_fold(0_u64, |all, digit| match digit {
        b'0'..=b'7' => all.checked_mul(8).map(|all| all + u64::from(digit - b'0')).ok_or_else(bad),
        _ => Err(bad()),
    })
}
