//! Bytes that are all zero: holes of files, ends of archives, empty parts of disks.

/// Whether all bytes are zero. None are, too.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    match bytes {
        // memcmp(3) of the bytes and their neighbours: an iterator looks at one byte at a time.
        [first, rest @ ..] => *first == 0 && rest == &bytes[..rest.len()],
        [] => true,
    }
}

#[cfg(test)]
mod tests {
    use super::is_zero;

    #[test]
    fn one_byte_is_enough() {
        assert!(is_zero(&[]) && is_zero(&[0]) && is_zero(&[0; 1000]));
        for at in 0..100 {
            let mut bytes = [0; 100];
            bytes[at] = 1;
            assert!(!is_zero(&bytes), "{at}");
        }
        assert!(!is_zero(&[7; 100]));
    }
}
