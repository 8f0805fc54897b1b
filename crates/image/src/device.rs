//! Numbers of devices, as Linux's file systems store them.

/// Most of a major number: 12 bits. linux/kdev_t.h.
pub(crate) const MAJOR_MAX: u32 = 0xfff;
/// Most of a minor number: 20 bits. linux/kdev_t.h.
pub(crate) const MINOR_MAX: u32 = 0xf_ffff;

/// new_encode_dev(), include/linux/kdev_t.h.
pub(crate) fn encode_device(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// Major and minor number.
pub(crate) fn decode_device(device: u32) -> (u32, u32) {
    (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xfff00)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for (major, minor) in [(1, 3), (255, 255), (MAJOR_MAX, MINOR_MAX), (0, 256)] {
            assert_eq!(decode_device(encode_device(major, minor)), (major, minor));
        }
    }
}
