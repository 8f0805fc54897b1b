//! The file that is written.

use std::io::{self, BufWriter, Seek, Write};

/// A file that an image is written to.
pub(crate) trait Sink: Write + Seek {}

impl<T: Write + Seek> Sink for T {}

/// The image being written, and where in it we are.
pub(super) struct Output<'f> {
    pub(super) file: BufWriter<&'f mut dyn Sink>,
    /// Bytes from the start of the image.
    pub(super) position: u64,
}

impl Write for Output<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.file.write(buf)?;
        self.position += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
