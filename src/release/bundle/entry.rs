//! One entry: compares its local header with the directory, and its content with both.

use std::io;

use super::{
    codec::{CodecError, Decoder},
    layout::reject,
    record::{
        CommonFields, DESCRIPTOR, EntryMethod, FLAG_DESCRIPTOR, FieldReader, LOCAL, LOCAL_LEN,
    },
};
use crate::base::{
    digest::Sha256,
    error::{Error, Result},
};

/// One file. The bytes `start..start + len` of the archive are its local header and its data, and
/// nothing else.
#[derive(Debug)]
pub(crate) struct BundleEntry {
    pub(crate) name: String,
    pub(crate) start: u64,
    pub(crate) len: u64,
    /// Uncompressed size in bytes, according to the headers.
    pub(crate) size: u64,
    pub(crate) executable: bool,
    pub(crate) method: EntryMethod,
    pub(crate) crc: u32,
    pub(crate) compressed: u64,
    /// Compressed length of each block in bytes; empty without a block index.
    pub(crate) blocks: Vec<u32>,
    /// The CRC-64/NVME of the bytes `start..start + len`, if the writer recorded it.
    pub(crate) crc64: Option<u64>,
    /// The shared segment that has these bytes, if the writer left them out.
    pub(crate) shared: Option<Sha256>,
    pub(crate) flags: u16,
    /// True for a folder of a reference bundle, of which only the headers are checked.
    pub(crate) folder: bool,
}

impl BundleEntry {
    /// Returns the name as in the headers, without the prefix.
    pub(crate) fn spelled(&self) -> String {
        let slash = if self.folder && !self.name.is_empty() { "/" } else { "" };
        format!("{}{slash}", self.name)
    }

    /// Checks that the local header agrees with the directory.
    pub(crate) fn check_fields(&self, local: &CommonFields) -> Result<()> {
        let later = self.flags & FLAG_DESCRIPTOR != 0;
        let mut pairs = vec![
            ("flags", u64::from(local.flags), u64::from(self.flags)),
            ("method", local.method.into(), self.method as u64),
        ];
        // With a data descriptor, the local header can omit these three.
        let omitted = later && local.crc == 0 && local.compressed == 0 && local.size == 0;
        if !omitted {
            pairs.push(("checksum", local.crc.into(), self.crc.into()));
            pairs.push(("compressed size", local.compressed, self.compressed));
            pairs.push(("size", local.size, self.size));
        }
        match pairs.into_iter().find(|(_, local, central)| local != central) {
            None => Ok(()),
            Some((field, local, central)) => Err(reject(
                &self.name,
                format!("its {field} is {local} in the local header, {central} in the directory"),
            )),
        }
    }

    /// Checks the bytes between the data and the next entry: none, or the announced data
    /// descriptor.
    pub(crate) fn check_rest(&self, rest: &[u8]) -> Result<()> {
        if self.flags & FLAG_DESCRIPTOR == 0 {
            return if rest.is_empty() {
                Ok(())
            } else {
                Err(reject(&self.name, "it is followed by bytes that belong to no entry"))
            };
        }
        let bare = rest.strip_prefix(&DESCRIPTOR.to_le_bytes()).unwrap_or(rest);
        let mut fields = FieldReader(bare);
        let found = match bare.len() {
            12 => fields
                .u32()
                .zip(fields.u32().zip(fields.u32()))
                .map(|(a, (b, c))| (a, b.into(), c.into())),
            20 => fields.u32().zip(fields.u64().zip(fields.u64())).map(|(a, (b, c))| (a, b, c)),
            _ => None,
        };
        match found {
            Some(found) if found == (self.crc, self.compressed, self.size) => Ok(()),
            _ => Err(reject(
                &self.name,
                "its data descriptor is damaged or differs from the directory",
            )),
        }
    }

    /// Decodes `source`, which contains exactly the data, into `sink`. Checks the size and the CRC.
    pub(crate) fn decode(
        &self,
        decoder: &mut Decoder,
        source: impl io::BufRead,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut check = ContentCheck::new(self);
        let outcome = decoder.decode(self.method, source, &mut |bytes| {
            check.update(bytes)?;
            sink(bytes)
        });
        match outcome {
            Ok(()) => check.finish(),
            Err(CodecError::Sink(error)) => Err(error),
            Err(CodecError::Data(error)) => Err(damaged(&self.name, &error)),
        }
    }
}

/// Returns the error for data that cannot be decoded.
pub(crate) fn damaged(name: &str, error: &io::Error) -> Error {
    reject(name, format!("its data is damaged: {error}"))
}

/// Compares content with the size and the checksum in the headers. Fails at the first excess byte.
pub(crate) struct ContentCheck<'a> {
    entry: &'a BundleEntry,
    crc: crc32fast::Hasher,
    seen: u64,
}

impl<'a> ContentCheck<'a> {
    pub(crate) fn new(entry: &'a BundleEntry) -> Self {
        Self { entry, crc: crc32fast::Hasher::new(), seen: 0 }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) -> Result<()> {
        self.seen += bytes.len() as u64;
        if self.seen > self.entry.size {
            return Err(reject(
                &self.entry.name,
                format!("it is larger than the {} bytes that its header claims", self.entry.size),
            ));
        }
        self.crc.update(bytes);
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<()> {
        let Self { entry, crc, seen } = self;
        if seen != entry.size {
            return Err(reject(
                &entry.name,
                format!("it has {seen} bytes, but its header claims {}", entry.size),
            ));
        }
        let crc = crc.finalize();
        if crc != entry.crc {
            return Err(reject(
                &entry.name,
                format!("its CRC-32 is {crc:08x}, not {:08x}", entry.crc),
            ));
        }
        Ok(())
    }
}

/// A local header as read.
pub(crate) struct LocalHeader<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) common: CommonFields,
    /// Length of the whole header in bytes.
    pub(crate) len: usize,
}

impl<'a> LocalHeader<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut fields = FieldReader(bytes);
        if fields.u32()? != LOCAL {
            return None;
        }
        let mut common = CommonFields::parse(&mut fields)?;
        let name = fields.bytes(common.name_len)?;
        let extra = fields.bytes(common.extra_len)?;
        common.widen(extra, None)?;
        let len = LOCAL_LEN + common.name_len + common.extra_len;
        Some(Self { name, common, len })
    }
}

/// Returns the length of a whole local header in bytes, from its fixed part.
pub(crate) fn local_len(fixed: &[u8; LOCAL_LEN]) -> usize {
    let at = |i: usize| usize::from(u16::from_le_bytes([fixed[i], fixed[i + 1]]));
    LOCAL_LEN + at(26) + at(28)
}
