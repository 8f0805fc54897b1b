//! As much DER (X.690) as a signature takes: reading elements in turn, writing them inside out.

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
/// The first element of a choice or the first optional one, by number.
pub(crate) const CONTEXT_0: u8 = 0xa0;

pub(crate) const NULL: [u8; 2] = [0x05, 0x00];

/// An element: its tag, the length of its content, the content.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|p| p.len()).sum();
    let mut out = vec![tag];
    if len < 0x80 {
        out.push(len as u8);
    } else {
        let bytes = len.to_be_bytes();
        let significant = &bytes[bytes.iter().take_while(|&&b| b == 0).count()..];
        out.push(0x80 | significant.len() as u8);
        out.extend_from_slice(significant);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// What is left to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

/// An element that was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element<'a> {
    pub(crate) content: &'a [u8],
    /// Tag and length included.
    pub(crate) whole: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The next element, if its tag is this one.
    pub(crate) fn take(&mut self, tag: u8) -> Option<Element<'a>> {
        let (&found, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let len = if first < 0x80 {
            usize::from(first)
        } else {
            // Four bytes of length are more than any file that is read here has.
            let (bytes, after) =
                rest.split_at_checked(usize::from(first & 0x7f)).filter(|(b, _)| b.len() <= 4)?;
            rest = after;
            bytes.iter().fold(0, |len, &b| len << 8 | usize::from(b))
        };
        let (content, after) = rest.split_at_checked(len)?;
        if found != tag || first == 0x80 {
            return None;
        }
        let whole = &self.0[..self.0.len() - after.len()];
        self.0 = after;
        Some(Element { content, whole })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_is_read_as_it_is_written() {
        for len in [0, 1, 127, 128, 255, 256, 70_000] {
            let content = vec![7; len];
            let mut bytes = element(SEQUENCE, &[&content]);
            bytes.push(9);
            let mut reader = Reader(&bytes);
            assert!(reader.take(SET).is_none());
            let found = reader.take(SEQUENCE).unwrap();
            assert_eq!(
                (found.content, found.whole, reader.0),
                (&content[..], &bytes[..bytes.len() - 1], &[9][..])
            );
            for cut in 0..bytes.len().min(20) {
                assert!(Reader(&bytes[..cut]).take(SEQUENCE).is_none() || cut == bytes.len() - 1);
            }
        }
        for hostile in [
            &[0x30, 0x80][..],
            &[0x30, 0x85, 0, 0, 0, 0, 0],
            &[0x30, 0x84, 255, 255, 255, 255],
            &[0x30, 0xff],
        ] {
            assert!(Reader(hostile).take(SEQUENCE).is_none(), "{hostile:?}");
        }
    }
}
