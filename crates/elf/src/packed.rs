//! Programs that carry another one inside and load it themselves. What such a program needs isn't to be seen in its own
//! headers: UPX maps the PT_INTERP of the program it unpacks, so that a packed dynamic program looks static and takes the
//! host's loader and libraries. UPX's format: src/stub/src/include/linux.h of its sources.

use object::elf;

use crate::ElfError;
use crate::layout::Layout;
use crate::raw::Format;
use crate::source::Source;

/// Where l_info may begin behind the program headers, and its size with p_info and the first b_info. Bytes.
const UPX_REACH: u64 = 64;
const UPX_HEADERS: usize = 12 + 12 + 12;
/// Most packed bytes that are read: the first block holds the ELF header and the program headers alone.
const UPX_READ: u64 = 16 << 10;
/// Most bytes that are unpacked: a header and more program headers than any program has.
const UPX_UNPACK: usize = 8 << 10;

/// What a program is packed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Packed {
    /// UPX. Whether the program inside needs a loader; `None` where that can't be known.
    Upx {
        /// PT_INTERP of the program inside.
        dynamic: Option<bool>,
    },
    /// An AppImage, a file system behind its runtime: <https://github.com/AppImage/AppImageSpec>.
    AppImage,
}

pub(super) fn find(source: &Source<'_>, layout: &Layout) -> Result<Option<Packed>, ElfError> {
    // e_ident's padding: "AI" and the type.
    if matches!(source.bytes("e_ident", 8, 3)?.as_slice(), [b'A', b'I', 1 | 2]) {
        return Ok(Some(Packed::AppImage));
    }
    if layout.segment(elf::PT_INTERP).is_some() || layout.dynamic.is_some() {
        return Ok(None);
    }
    let size = (layout.phdrs.len() * layout.format.phdr_size()) as u64;
    let start = layout.ehdr.e_phoff.saturating_add(size);
    let Some(left) = source.len().checked_sub(start) else { return Ok(None) };
    let head = source.bytes("UPX header", start, left.min(UPX_REACH))?;
    // l_checksum, then the magic.
    let magic = (4..head.len()).step_by(4).find(|&at| head[at..].starts_with(b"UPX!"));
    let Some(info) = magic.map(|at| start + at as u64 - 4) else { return Ok(None) };
    let bytes = source.bytes("UPX header", info, (source.len() - info).min(UPX_READ))?;
    Ok(Some(Packed::Upx { dynamic: is_dynamic(layout.format, &bytes) }))
}

/// Whether the program whose first block this is has a PT_INTERP.
fn is_dynamic(format: Format, bytes: &[u8]) -> Option<bool> {
    let block = bytes.get(24..UPX_HEADERS)?;
    let (unpacked, packed) = (format.u32(block)? as usize, format.u32(&block[4..])? as usize);
    let rest = &bytes[UPX_HEADERS..];
    let rest = &rest[..packed.min(rest.len())];
    let limit = unpacked.min(UPX_UNPACK);
    let head = match (packed == unpacked, block[8]) {
        (true, _) => rest[..limit.min(rest.len())].to_vec(),
        (false, 2) => nrv(rest, limit, Nrv::B)?,
        (false, 5) => nrv(rest, limit, Nrv::D)?,
        (false, 8) => nrv(rest, limit, Nrv::E)?,
        // LZMA, or a byte order of its own.
        _ => return None,
    };
    let format = Format::from_ident(&head).filter(|f| *f == format)?;
    let ehdr = format.ehdr(&head)?;
    let size = format.phdr_size();
    let start = usize::try_from(ehdr.e_phoff).ok()?;
    let end = start.checked_add(usize::from(ehdr.e_phnum).checked_mul(size)?)?;
    let mut phdrs = head.get(start..end)?.chunks_exact(size).filter_map(|b| format.phdr(b));
    Some(phdrs.any(|p| p.p_type == elf::PT_INTERP.0))
}

/// UCL's three codes, which differ in how they write a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nrv {
    B,
    D,
    E,
}

/// Bits from little-endian words that stand between the bytes where they are needed.
struct Bits<'a> {
    bytes: &'a [u8],
    word: u32,
    left: u32,
}

impl Bits<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(first)
    }

    fn bit(&mut self) -> Option<u32> {
        if self.left == 0 {
            let (word, rest) = self.bytes.split_first_chunk::<4>()?;
            (self.word, self.left, self.bytes) = (u32::from_le_bytes(*word), 32, rest);
        }
        self.left -= 1;
        Some(self.word >> self.left & 1)
    }

    /// `value` with one more bit.
    fn push(&mut self, value: u32) -> Option<u32> {
        value.checked_mul(2)?.checked_add(self.bit()?)
    }
}

/// The first `limit` bytes of what is packed; `None` if it ends before or makes no sense.
fn nrv(bytes: &[u8], limit: usize, code: Nrv) -> Option<Vec<u8>> {
    let mut bits = Bits { bytes, word: 0, left: 0 };
    let mut out: Vec<u8> = Vec::with_capacity(limit);
    let mut last = 1u32;
    while out.len() < limit {
        if bits.bit()? == 1 {
            out.push(bits.byte()?);
            continue;
        }
        let mut offset = bits.push(1)?;
        while bits.bit()? == 0 {
            if code != Nrv::B {
                offset = bits.push(offset.checked_sub(1)?)?;
            }
            offset = bits.push(offset)?;
        }
        let mut first = None;
        if offset == 2 {
            offset = last;
        } else {
            offset = offset.checked_sub(3)?.checked_mul(256)?.checked_add(bits.byte()?.into())?;
            if code != Nrv::B {
                first = Some(!offset & 1);
                offset >>= 1;
            }
            offset = offset.checked_add(1)?;
            last = offset;
        }
        let first = match first {
            Some(bit) => bit,
            None => bits.bit()?,
        };
        let gamma = |bits: &mut Bits<'_>| {
            let mut value = bits.push(1)?;
            while bits.bit()? == 0 {
                value = bits.push(value)?;
            }
            Some(value)
        };
        let length = match (code, first) {
            (Nrv::E, 1) => bits.push(0)?.checked_add(1)?,
            (Nrv::E, _) if bits.bit()? == 1 => bits.push(0)?.checked_add(3)?,
            (Nrv::E, _) => gamma(&mut bits)?.checked_add(3)?,
            (_, first) => match bits.push(first)? {
                0 => gamma(&mut bits)?.checked_add(2)?,
                short => short,
            },
        };
        let far = if code == Nrv::B { 0xd00 } else { 0x500 };
        let length = length.checked_add(1 + u32::from(offset > far))? as usize;
        let from = out.len().checked_sub(offset as usize)?;
        for at in from..from + length.min(limit - out.len()) {
            out.push(out[at]);
        }
    }
    Some(out)
}
