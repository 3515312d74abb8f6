//! CRC-64/NVME, the checksum that S3 compares: it can be combined from the checksums of parts.

use crc_fast::CrcAlgorithm::Crc64Nvme;

/// The checksum of some bytes, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crc64 {
    pub(crate) sum: u64,
    pub(crate) len: u64,
}

/// Computes a checksum in steps.
pub(crate) struct Crc64Hasher {
    digest: crc_fast::Digest,
    len: u64,
}

impl Crc64 {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { sum: crc_fast::checksum(Crc64Nvme, bytes), len: bytes.len() as u64 }
    }

    /// Returns the checksum of these bytes, followed by those of `next`.
    pub(crate) fn then(self, next: Self) -> Self {
        let sum = crc_fast::checksum_combine(Crc64Nvme, self.sum, next.sum, next.len);
        Self { sum, len: self.len + next.len }
    }
}

impl Crc64Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.len += bytes.len() as u64;
    }

    pub(crate) fn finish(&self) -> Crc64 {
        Crc64 { sum: self.digest.finalize(), len: self.len }
    }
}

impl Default for Crc64Hasher {
    fn default() -> Self {
        Self { digest: crc_fast::Digest::new(Crc64Nvme), len: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_combine_to_the_whole() {
        let whole = Crc64::of(b"123456789");
        // The check value of the catalogue of CRCs.
        assert_eq!(whole, Crc64 { sum: 0xae8b_1486_0a79_9888, len: 9 });
        assert_eq!(Crc64::of(b"1234").then(Crc64::of(b"56789")), whole);
        assert_eq!(Crc64::of(b"").then(whole).then(Crc64::of(b"")), whole);
        let mut steps = Crc64Hasher::default();
        steps.update(b"123");
        steps.update(b"456789");
        assert_eq!(steps.finish(), whole);
    }
}
