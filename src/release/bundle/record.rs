//! The structures of a zip file (PKWARE APPNOTE 6.3.10, section 4.3), as bytes and as values. All
//! numbers are little-endian.

use crate::base::digest::Sha256;

pub(crate) const LOCAL: u32 = 0x0403_4b50;
pub(crate) const CENTRAL: u32 = 0x0201_4b50;
pub(crate) const END: u32 = 0x0605_4b50;
pub(crate) const END64: u32 = 0x0606_4b50;
pub(crate) const END64_LOCATOR: u32 = 0x0706_4b50;
pub(crate) const DESCRIPTOR: u32 = 0x0807_4b50;

pub(crate) const LOCAL_LEN: usize = 30;
pub(crate) const CENTRAL_LEN: usize = 46;
pub(crate) const END_LEN: usize = 22;
pub(crate) const END64_LEN: usize = 56;
pub(crate) const END64_LOCATOR_LEN: usize = 20;

pub(crate) const FLAG_DESCRIPTOR: u16 = 1 << 3;
pub(crate) const FLAG_UTF8: u16 = 1 << 11;

pub(crate) const EXTRA_ZIP64: u16 = 0x0001;
/// The block index, bytes `CF`: one u32 per block, its compressed length. The blocks of an entry
/// are consecutive zstd frames, and every block except the last decodes to `BLOCK` bytes. A program
/// that does not know the field reads plain zstd.
pub(crate) const EXTRA_BLOCKS: u16 = 0x4643;
/// Bytes `CS`: the CRC-64/NVME of the local header and the data, one u64. A later release copies
/// these bytes within the store, and the store or the copier compares the checksum.
pub(crate) const EXTRA_CHECKSUM: u16 = 0x5343;
/// Bytes `SS`: the SHA-256 of the shared segment that has the local header and the data. The object
/// of the bundle does not have them.
pub(crate) const EXTRA_SHARED: u16 = 0x5353;
/// How many blocks fit into the extra fields, together with a zip64 field, a checksum and a shared
/// segment.
const MAX_BLOCKS: usize = (u16::MAX as usize - 4 - 32 - 12 - 36) / 4;

/// Uncompressed size of a block in bytes.
pub(crate) const BLOCK: u64 = 1 << 20;

/// Files of this size or more have 64-bit sizes in the header. It is slightly below 4 GiB, because
/// incompressible data grows.
const ZIP64_FROM: u64 = 0xff00_0000;

/// 1980-01-01 00:00, the earliest time that a zip can store.
const TIME: u16 = 0;
const DATE: u16 = 0x21;
const UNIX: u16 = 3;
/// The version of the format that the writer of bundles knows, 6.3: zstd.
const MADE_BY: u16 = 63;
const REGULAR: u32 = 0o100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryMethod {
    Stored = 0,
    Deflate = 8,
    Zstd = 93,
}

impl EntryMethod {
    pub(crate) fn from_number(number: u16) -> Option<Self> {
        [Self::Stored, Self::Deflate, Self::Zstd]
            .into_iter()
            .find(|method| *method as u16 == number)
    }

    pub(crate) fn version_needed(self) -> u16 {
        match self {
            Self::Stored => 10,
            Self::Deflate => 20,
            Self::Zstd => 63,
        }
    }
}

/// The metadata of an entry that is written.
#[derive(Debug)]
pub(crate) struct EntryRecord {
    pub(crate) name: String,
    pub(crate) method: EntryMethod,
    pub(crate) executable: bool,
    pub(crate) crc: u32,
    pub(crate) compressed: u64,
    pub(crate) size: u64,
    /// Offset of the local header in bytes.
    pub(crate) offset: u64,
    pub(crate) blocks: Vec<u32>,
    /// The CRC-64/NVME of local header and data; only of segments.
    pub(crate) crc64: Option<u64>,
    /// The shared segment that has these bytes.
    pub(crate) shared: Option<Sha256>,
}

impl EntryRecord {
    /// Returns the local header. Its length depends only on the name and the size, so it can be
    /// overwritten once the other fields are known.
    pub(crate) fn local(&self) -> Vec<u8> {
        let extra = if self.is_zip64() { zip64(&[self.size, self.compressed]) } else { Vec::new() };
        let mut bytes = Vec::with_capacity(LOCAL_LEN + self.name.len() + extra.len());
        put32(&mut bytes, LOCAL);
        self.put_common(&mut bytes, extra.len());
        bytes.extend(self.name.as_bytes());
        bytes.extend(extra);
        bytes
    }

    /// Returns the entry in the central directory of a bundle.
    pub(crate) fn central(&self) -> Vec<u8> {
        self.central_made_by(MADE_BY)
    }

    /// Returns the entry in the central directory. `made_by` is the version of the format that the
    /// writer knows.
    pub(crate) fn central_made_by(&self, made_by: u16) -> Vec<u8> {
        let extra = self.central_extra();
        let mut bytes = Vec::with_capacity(CENTRAL_LEN + self.name.len() + extra.len());
        put32(&mut bytes, CENTRAL);
        put16(&mut bytes, UNIX << 8 | made_by);
        self.put_common(&mut bytes, extra.len());
        // No comment, first disk, no internal attributes.
        bytes.extend([0; 6]);
        put32(&mut bytes, (REGULAR | if self.executable { 0o755 } else { 0o644 }) << 16);
        put32(&mut bytes, cap32(self.offset));
        bytes.extend(self.name.as_bytes());
        bytes.extend(extra);
        bytes
    }

    /// Appends the fields that both headers have, in the same order.
    fn put_common(&self, bytes: &mut Vec<u8>, extra_len: usize) {
        let version = self.method.version_needed().max(if self.is_zip64() { 45 } else { 0 });
        let flags = if self.name.is_ascii() { 0 } else { FLAG_UTF8 };
        for field in [version, flags, self.method as u16, TIME, DATE] {
            put16(bytes, field);
        }
        let sizes = if self.is_zip64() {
            [u32::MAX; 2]
        } else {
            [cap32(self.compressed), cap32(self.size)]
        };
        for field in [self.crc, sizes[0], sizes[1]] {
            put32(bytes, field);
        }
        put16(bytes, self.name.len() as u16);
        put16(bytes, extra_len as u16);
    }

    fn central_extra(&self) -> Vec<u8> {
        let mut wide = Vec::new();
        if self.is_zip64() {
            wide.extend([self.size, self.compressed]);
        }
        if self.offset >= u64::from(u32::MAX) {
            wide.push(self.offset);
        }
        let mut extra = if wide.is_empty() { Vec::new() } else { zip64(&wide) };
        if !self.blocks.is_empty() && self.blocks.len() <= MAX_BLOCKS {
            put16(&mut extra, EXTRA_BLOCKS);
            put16(&mut extra, (self.blocks.len() * 4) as u16);
            self.blocks.iter().for_each(|block| put32(&mut extra, *block));
        }
        if let Some(sum) = self.crc64 {
            put16(&mut extra, EXTRA_CHECKSUM);
            put16(&mut extra, 8);
            put64(&mut extra, sum);
        }
        if let Some(sha256) = self.shared {
            put16(&mut extra, EXTRA_SHARED);
            put16(&mut extra, 32);
            extra.extend(sha256.to_bytes());
        }
        extra
    }

    fn is_zip64(&self) -> bool {
        self.size >= ZIP64_FROM
    }
}

/// Returns the end records of a bundle with a directory of `len` bytes at `offset`.
pub(crate) fn end(entries: u64, len: u64, offset: u64) -> Vec<u8> {
    let is_wide = entries >= u64::from(u16::MAX)
        || offset >= u64::from(u32::MAX)
        || len >= u64::from(u32::MAX);
    let versions = is_wide.then_some([UNIX << 8 | MADE_BY, 45]);
    end_records((entries, len, offset), versions, cap32(len))
}

/// Returns the end records of an archive with a directory of `len` bytes at `offset`. `versions`
/// are those of the writer and of the reader in the record of zip64, which is written only with
/// them. `short_len` is the length of the directory in the record without zip64.
pub(crate) fn end_records(
    (entries, len, offset): (u64, u64, u64),
    versions: Option<[u16; 2]>,
    short_len: u32,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(versions) = versions {
        put32(&mut bytes, END64);
        put64(&mut bytes, END64_LEN as u64 - 12);
        versions.iter().for_each(|version| put16(&mut bytes, *version));
        bytes.extend([0; 8]);
        [entries, entries, len, offset].iter().for_each(|field| put64(&mut bytes, *field));
        put32(&mut bytes, END64_LOCATOR);
        put32(&mut bytes, 0);
        put64(&mut bytes, offset + len);
        put32(&mut bytes, 1);
    }
    put32(&mut bytes, END);
    bytes.extend([0; 4]);
    let count = entries.min(u64::from(u16::MAX)) as u16;
    put16(&mut bytes, count);
    put16(&mut bytes, count);
    put32(&mut bytes, short_len);
    put32(&mut bytes, cap32(offset));
    put16(&mut bytes, 0);
    bytes
}

/// Reads consecutive fields. Returns `None` at the end of the bytes.
#[derive(Clone)]
pub(crate) struct FieldReader<'a>(pub(crate) &'a [u8]);

impl<'a> FieldReader<'a> {
    pub(crate) fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }
}

/// The fields that local and central headers have in common, as read.
pub(crate) struct CommonFields {
    pub(crate) flags: u16,
    pub(crate) method: u16,
    pub(crate) crc: u32,
    pub(crate) compressed: u64,
    pub(crate) size: u64,
    pub(crate) name_len: usize,
    pub(crate) extra_len: usize,
}

impl CommonFields {
    pub(crate) fn parse(fields: &mut FieldReader<'_>) -> Option<Self> {
        let _version_needed = fields.u16()?;
        let (flags, method) = (fields.u16()?, fields.u16()?);
        let _time_and_date = fields.u32()?;
        let (crc, compressed, size) = (fields.u32()?, fields.u32()?.into(), fields.u32()?.into());
        let (name_len, extra_len) = (fields.u16()?.into(), fields.u16()?.into());
        Some(Self { flags, method, crc, compressed, size, name_len, extra_len })
    }

    /// Reads the sizes, and the offset of a central header, from the zip64 field if the header
    /// refers to it. Returns `None` if the extra fields are damaged or values are missing.
    pub(crate) fn widen(&mut self, extra: &[u8], offset: Option<&mut u64>) -> Option<()> {
        let mut wide = FieldReader(find_extra(extra, EXTRA_ZIP64)?.unwrap_or_default());
        let saturated = u64::from(u32::MAX);
        for field in
            [Some(&mut self.size), Some(&mut self.compressed), offset].into_iter().flatten()
        {
            if *field == saturated {
                *field = wide.u64()?;
            }
        }
        Some(())
    }
}

/// Returns the content of the extra field `id`. The outer `None` means damaged, the inner one
/// absent. A duplicate field counts as damaged, because two readers could use different ones.
#[expect(clippy::option_option, reason = "damaged and absent are two things")]
pub(crate) fn find_extra(extra: &[u8], id: u16) -> Option<Option<&[u8]>> {
    let (mut fields, mut found) = (FieldReader(extra), None);
    while !fields.0.is_empty() {
        let (this, len) = (fields.u16()?, fields.u16()?);
        let content = fields.bytes(len.into())?;
        if this == id && found.replace(content).is_some() {
            return None;
        }
    }
    Some(found)
}

fn zip64(values: &[u64]) -> Vec<u8> {
    let mut extra = Vec::new();
    put16(&mut extra, EXTRA_ZIP64);
    put16(&mut extra, (values.len() * 8) as u16);
    values.iter().for_each(|value| put64(&mut extra, *value));
    extra
}

fn cap32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn put16(to: &mut Vec<u8>, value: u16) {
    to.extend(value.to_le_bytes());
}

fn put32(to: &mut Vec<u8>, value: u32) {
    to.extend(value.to_le_bytes());
}

fn put64(to: &mut Vec<u8>, value: u64) {
    to.extend(value.to_le_bytes());
}
