//! A part of a multipart upload that S3 has.

use aws_sdk_s3::types::CompletedPart;

use super::body::base64_crc;
use crate::base::crc64::Crc64;

pub(crate) struct Part {
    pub(crate) number: i32,
    pub(crate) etag: Option<String>,
    pub(crate) len: u64,
    /// None if S3 copied the part and did not return a checksum.
    pub(crate) crc: Option<u64>,
}

impl Part {
    pub(crate) fn completed(self) -> CompletedPart {
        CompletedPart::builder()
            .part_number(self.number)
            .set_e_tag(self.etag)
            .set_checksum_crc64_nvme(self.crc.map(base64_crc))
            .build()
    }
}

/// Returns the checksum of an object. None if that of a part is not known.
pub(crate) fn whole(parts: &[Part]) -> Option<Crc64> {
    parts.iter().try_fold(Crc64::of(&[]), |all, part| {
        Some(all.then(Crc64 { sum: part.crc?, len: part.len }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_is_the_one_of_the_whole() {
        let all = Crc64::of(b"123456789");
        assert_eq!(base64_crc(all.sum), "rosUhgp5mIg=");
        let part = |number, bytes: &[u8]| {
            let crc = Some(Crc64::of(bytes).sum);
            Part { number, etag: None, crc, len: bytes.len() as u64 }
        };
        let mut parts = vec![part(1, b"1234"), part(2, b"56789")];
        assert_eq!(whole(&parts), Some(all));
        parts[1].crc = None;
        assert_eq!(whole(&parts), None);
    }
}
