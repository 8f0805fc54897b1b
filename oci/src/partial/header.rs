//! Headers of a tar, as POSIX has them: a PAX header with all that has no room in the old one, and the old one.

/// Bytes.
pub(super) const BLOCK: u64 = 512;

/// One entry.
pub(super) struct Header<'a> {
    pub name: &'a str,
    /// Of a link.
    pub link: &'a str,
    /// The type flag.
    pub letter: u8,
    /// Bytes.
    pub size: u64,
    pub mode: u32,
    /// User and group.
    pub owner: (u64, u64),
    /// Major and minor number.
    pub device: (u32, u32),
    /// Seconds since 1970.
    pub mtime: i64,
    pub xattrs: Vec<(&'a str, Vec<u8>)>,
}

impl Header<'_> {
    /// Whole blocks.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut records = Vec::new();
        let mut add = |key: &str, value: &[u8]| record(&mut records, key, value);
        add("path", self.name.as_bytes());
        if !self.link.is_empty() {
            add("linkpath", self.link.as_bytes());
        }
        add("size", self.size.to_string().as_bytes());
        add("mtime", self.mtime.to_string().as_bytes());
        add("uid", self.owner.0.to_string().as_bytes());
        add("gid", self.owner.1.to_string().as_bytes());
        for (name, value) in &self.xattrs {
            add(&format!("SCHILY.xattr.{name}"), value);
        }
        let mut out = old(b'x', records.len() as u64, 0, (0, 0)).to_vec();
        out.extend(records);
        out.resize(out.len().next_multiple_of(BLOCK as usize), 0);
        out.extend(old(self.letter, 0, self.mode, self.device));
        out
    }
}

/// `LENGTH KEY=VALUE\n`; the length counts its own digits.
fn record(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while rest + len.to_string().len() != len {
        len = rest + len.to_string().len();
    }
    out.extend(len.to_string().bytes());
    out.push(b' ');
    out.extend(key.bytes());
    out.push(b'=');
    out.extend(value);
    out.push(b'\n');
}

/// A ustar header. Numbers that don't fit stand in a PAX header.
fn old(letter: u8, size: u64, mode: u32, device: (u32, u32)) -> [u8; BLOCK as usize] {
    let mut out = [0; BLOCK as usize];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"x");
    put(100, format!("{mode:07o}").as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{size:011o}").as_bytes());
    put(136, b"00000000000");
    put(148, b"        ");
    put(156, &[letter]);
    put(257, b"ustar\x0000");
    put(329, format!("{:07o}", device.0 & 0o777_7777).as_bytes());
    put(337, format!("{:07o}", device.1 & 0o777_7777).as_bytes());
    let sum: u32 = out.iter().map(|b| u32::from(*b)).sum();
    out[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out
}
