//! Finds the central directory from the end of the archive, and checks each of its entries.

use super::{
    entry::BundleEntry,
    layout::{MAX_DIRECTORY, MAX_ENTRIES, MAX_FILE, check_name, is_bomb, reject, reject_archive},
    record::{
        BLOCK, CENTRAL, CommonFields, END, END_LEN, END64, END64_LEN, END64_LOCATOR,
        END64_LOCATOR_LEN, EXTRA_BLOCKS, EXTRA_CHECKSUM, EXTRA_SHARED, EntryMethod,
        FLAG_DESCRIPTOR, FLAG_UTF8, FieldReader, LOCAL_LEN, find_extra,
    },
};
use crate::base::{
    digest::Sha256,
    error::{Error, Result},
};

/// Length of all records at the end of an archive, in bytes.
const ENDS: u64 = (END_LEN + END64_LOCATOR_LEN + END64_LEN) as u64;
/// The largest distance of the records from the end if a comment follows them, in bytes. Searched
/// only for a better error message.
pub(crate) const LOOKBACK: u64 = ENDS + u16::MAX as u64;

/// Offset and length of the central directory, in bytes.
pub(crate) struct CentralDirectory {
    entries: u64,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    /// The length of the archive. Its object is shorter if segments are shared.
    pub(crate) total: u64,
}

impl CentralDirectory {
    /// Finds it in the tail of an object of `stored` bytes. Returns `None` if it needs more of the
    /// tail.
    pub(crate) fn find(tail: &[u8], stored: u64) -> Result<Option<Self>> {
        if (tail.len() as u64) < stored.min(ENDS) {
            return Ok(None);
        }
        let end = tail.len().checked_sub(END_LEN).map(|at| &tail[at..]).filter(|end| is_end(end));
        let Some(end) = end else {
            let whole = tail.len() as u64 >= stored.min(LOOKBACK);
            return if whole { Err(no_end(tail, stored)) } else { Ok(None) };
        };
        let (directory, end_at) = Self::parse(tail, end, stored)
            .and_then(|(found, end_at)| match found.offset.checked_add(found.len)? {
                // Then the object lacks segments, which are compared with its entries later.
                wanted if wanted > end_at => {
                    Self::parse(tail, end, stored.checked_add(wanted - end_at)?)
                }
                _ => Some((found, end_at)),
            })
            .ok_or_else(|| {
                reject_archive(
                    "its end records contradict each other, or it is one part of a split archive",
                )
            })?;
        directory.check(end_at)?;
        Ok(Some(directory))
    }

    /// Returns the directory of an archive of `total` bytes, and the offset where it must end.
    fn parse(tail: &[u8], end: &[u8], total: u64) -> Option<(Self, u64)> {
        let mut fields = FieldReader(&end[4..]);
        let disks = (fields.u16()?, fields.u16()?);
        let (here, entries) = (fields.u16()?, fields.u16()?);
        let (len, offset) = (fields.u32()?, fields.u32()?);
        let narrow =
            Self { entries: entries.into(), offset: offset.into(), len: len.into(), total };
        let end_at = total - END_LEN as u64;
        let locator = tail.len().checked_sub(END_LEN + END64_LOCATOR_LEN).map(|at| &tail[at..]);
        let wide = locator.filter(|locator| locator.starts_with(&END64_LOCATOR.to_le_bytes()));
        let saturated = entries == u16::MAX || len == u32::MAX || offset == u32::MAX;
        match wide {
            _ if disks != (0, 0) || here != entries => None,
            None if saturated => None,
            None => Some((narrow, end_at)),
            Some(_) => narrow.widened(tail, end_at),
        }
    }

    /// Reads the zip64 records, which must agree with each value that the end record has.
    fn widened(self, tail: &[u8], end_at: u64) -> Option<(Self, u64)> {
        let at = tail.len().checked_sub(ENDS as usize)?;
        let place = end_at.checked_sub((END64_LOCATOR_LEN + END64_LEN) as u64)?;
        let mut fields = FieldReader(&tail[at..]);
        let head = (fields.u32()?, fields.u64()?);
        let _versions = fields.u32()?;
        let disks = (fields.u32()?, fields.u32()?);
        let (here, entries, len, offset) =
            (fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?);
        let locator = (fields.u32()?, fields.u32()?, fields.u64()?, fields.u32()?);
        let agrees = head == (END64, END64_LEN as u64 - 12)
            && disks == (0, 0)
            && here == entries
            && locator == (END64_LOCATOR, 0, offset.checked_add(len)?, 1)
            && (self.entries == u64::from(u16::MAX) || self.entries == entries)
            && (self.len == u64::from(u32::MAX) || self.len == len)
            && (self.offset == u64::from(u32::MAX) || self.offset == offset);
        agrees.then_some((Self { entries, offset, len, total: self.total }, place))
    }

    fn check(&self, end_at: u64) -> Result<()> {
        if self.entries > MAX_ENTRIES as u64 {
            return Err(reject_archive(format!(
                "it has {} entries, more than {MAX_ENTRIES}",
                self.entries
            )));
        }
        if self.len > MAX_DIRECTORY {
            return Err(reject_archive(format!(
                "its directory has {} bytes, more than {MAX_DIRECTORY}",
                self.len
            )));
        }
        match self.offset.checked_add(self.len) {
            Some(end) if end == end_at => Ok(()),
            Some(end) if end < end_at => Err(reject_archive(format!(
                "it has {} extra bytes before or between its parts",
                end_at - end
            ))),
            _ => Err(reject_archive("it is truncated: its directory extends beyond its end")),
        }
    }

    /// Parses the directory.
    pub(crate) fn entries(&self, bytes: &[u8]) -> Result<Vec<RawEntry>> {
        let mut fields = FieldReader(bytes);
        let raw: Vec<_> =
            (0..self.entries).map(|_| RawEntry::parse(&mut fields)).collect::<Result<_>>()?;
        if fields.0.is_empty() { Ok(raw) } else { Err(damaged_directory()) }
    }
}

fn is_end(bytes: &[u8]) -> bool {
    bytes.starts_with(&END.to_le_bytes()) && bytes.ends_with(&[0, 0])
}

/// Returns the error for an archive without an end record at its end.
fn no_end(tail: &[u8], total: u64) -> Error {
    let magic = END.to_le_bytes();
    match tail.windows(4).rposition(|window| window == magic) {
        Some(at) if tail.len() - at >= END_LEN => {
            reject_archive(format!("{} bytes follow its end record", tail.len() - at - END_LEN))
        }
        _ => reject_archive(format!(
            "it is truncated or not a zip: got {total} bytes and no end record"
        )),
    }
}

pub(crate) fn damaged_directory() -> Error {
    reject_archive("its directory is damaged")
}

/// An entry of the directory as read, with a valid name.
pub(crate) struct RawEntry {
    pub(crate) name: String,
    pub(crate) common: CommonFields,
    made_by: u16,
    comment_len: u16,
    mode: u32,
    pub(crate) start: u64,
    blocks: Option<Vec<u32>>,
    crc64: Option<u64>,
    shared: Option<Sha256>,
}

const ENCRYPTION: u16 = 1 | 1 << 6 | 1 << 13;
/// The two bits for the compression level of deflate.
const EFFORT: u16 = 0b110;

const TYPE: u32 = 0o170_000;
const TYPE_FOLDER: u32 = 0o040_000;
const TYPE_REGULAR: u32 = 0o100_000;
const TYPE_LINK: u32 = 0o120_000;
const SPECIAL: u32 = 0o7000;
const EXECUTABLE: u32 = 0o111;

impl RawEntry {
    fn parse(fields: &mut FieldReader<'_>) -> Result<Self> {
        let (mut raw, name, extra) = Self::fields(fields).ok_or_else(damaged_directory)?;
        raw.set_name(name)?;
        let widened = raw.common.widen(extra, Some(&mut raw.start));
        let blocks = find_extra(extra, EXTRA_BLOCKS);
        let (sum, shared) = (find_extra(extra, EXTRA_CHECKSUM), find_extra(extra, EXTRA_SHARED));
        let (Some(()), Some(blocks), Some(sum), Some(shared)) = (widened, blocks, sum, shared)
        else {
            return Err(reject(&raw.name, "its extra fields are damaged"));
        };
        // Another program could use the same number for something else.
        raw.crc64 = sum.and_then(|sum| sum.try_into().ok()).map(u64::from_le_bytes);
        raw.shared = shared.and_then(|digest| digest.try_into().ok()).map(Sha256::from_bytes);
        if let Some(blocks) = blocks.filter(|_| raw.common.method == EntryMethod::Zstd as u16) {
            raw.blocks = Some(raw.check_blocks(blocks)?);
        }
        Ok(raw)
    }

    fn fields<'a>(fields: &mut FieldReader<'a>) -> Option<(Self, &'a [u8], &'a [u8])> {
        if fields.u32()? != CENTRAL {
            return None;
        }
        let made_by = fields.u16()?;
        let common = CommonFields::parse(fields)?;
        let comment_len = fields.u16()?;
        let disk = fields.u16()?;
        let _internal = fields.u16()?;
        let (mode, start) = (fields.u32()? >> 16, fields.u32()?.into());
        let name = fields.bytes(common.name_len)?;
        let extra = fields.bytes(common.extra_len)?;
        fields.bytes(comment_len.into())?;
        let raw = Self {
            name: String::new(),
            common,
            made_by,
            comment_len,
            mode,
            start,
            blocks: None,
            crc64: None,
            shared: None,
        };
        (disk == 0).then_some((raw, name, extra))
    }

    fn set_name(&mut self, bytes: &[u8]) -> Result<()> {
        let escaped = || bytes.escape_ascii().to_string();
        let name =
            std::str::from_utf8(bytes).map_err(|_| reject(&escaped(), "the name is not UTF-8"))?;
        if !name.is_ascii() && self.common.flags & FLAG_UTF8 == 0 {
            return Err(reject(name, "the name is not marked as UTF-8"));
        }
        check_name(name.strip_suffix('/').unwrap_or(name)).map_err(|why| reject(name, why))?;
        name.clone_into(&mut self.name);
        Ok(())
    }

    /// Returns the lengths of the blocks, if they cover the data exactly.
    fn check_blocks(&self, bytes: &[u8]) -> Result<Vec<u32>> {
        let blocks: Vec<u32> =
            bytes.as_chunks().0.iter().map(|chunk: &[u8; 4]| u32::from_le_bytes(*chunk)).collect();
        let sum: u64 = blocks.iter().map(|len| u64::from(*len)).sum();
        let sound = bytes.len().is_multiple_of(4)
            && blocks.len() as u64 == self.common.size.div_ceil(BLOCK)
            && sum == self.common.compressed
            && blocks.iter().all(|len| u64::from(*len) <= BLOCK + BLOCK / 8);
        if sound {
            Ok(blocks)
        } else {
            Err(reject(&self.name, "its block index does not match its sizes"))
        }
    }

    /// Checks the offset: the first entry is at 0, and each has space for its data before the next.
    pub(crate) fn check_place(&self, at: usize, end: u64) -> Result<()> {
        let CommonFields { compressed, size, .. } = self.common;
        if at == 0 && self.start != 0 {
            return Err(reject_archive(format!(
                "it has {} extra bytes before its first entry",
                self.start
            )));
        }
        let least = compressed.checked_add((LOCAL_LEN + self.name.len()) as u64);
        if least.and_then(|least| self.start.checked_add(least)).is_none_or(|least| least > end) {
            return Err(reject(&self.name, "it overlaps another entry or the directory"));
        }
        if size > MAX_FILE {
            return Err(reject(
                &self.name,
                format!("its size is {size} bytes, more than {MAX_FILE}"),
            ));
        }
        if is_bomb(size, compressed) {
            return Err(reject(
                &self.name,
                format!("it would grow from {compressed} to {size} bytes, more than 200:1"),
            ));
        }
        Ok(())
    }

    pub(crate) fn check_attributes(&self, native: bool) -> Result<()> {
        self.check_flags(native).map_err(|why| reject(&self.name, why))?;
        self.check_mode(native).map_err(|why| reject(&self.name, why))?;
        if self.is_folder() && (self.common.size, self.common.compressed) != (0, 0) {
            return Err(reject(&self.name, "it is a folder with content"));
        }
        Ok(())
    }

    fn check_flags(&self, native: bool) -> Result<(), &'static str> {
        let flags = self.common.flags;
        if flags & ENCRYPTION != 0 {
            return Err("it is encrypted");
        }
        if native && flags & FLAG_DESCRIPTOR != 0 {
            return Err("it has a data descriptor, which bundles do not use");
        }
        let known = FLAG_UTF8 | if native { 0 } else { FLAG_DESCRIPTOR | EFFORT };
        if flags & !known != 0 {
            return Err("it has flags that bundles do not use");
        }
        if self.comment_len != 0 {
            return Err("it has a comment");
        }
        Ok(())
    }

    fn check_mode(&self, native: bool) -> Result<(), &'static str> {
        let kind = self.mode & TYPE;
        let slash = self.is_folder();
        match kind {
            TYPE_LINK => return Err("it is a symbolic link"),
            TYPE_FOLDER if !slash => return Err("it is a folder by its mode, a file by its name"),
            TYPE_REGULAR if slash => return Err("it is a file by its mode, a folder by its name"),
            TYPE_FOLDER | TYPE_REGULAR | 0 => {}
            _ => return Err("it is neither a file nor a folder (fifo, device or socket)"),
        }
        if self.mode & SPECIAL != 0 {
            return Err("it has a setuid, setgid or sticky bit");
        }
        if native && slash {
            return Err("it is a folder, which bundles do not list");
        }
        if native && (self.made_by >> 8 != 3 || !matches!(self.mode, 0o100_644 | 0o100_755)) {
            return Err("its mode is neither 0644 nor 0755");
        }
        Ok(())
    }

    pub(crate) fn is_folder(&self) -> bool {
        self.name.ends_with('/')
    }

    pub(crate) fn into_entry(self, name: String, end: u64) -> Result<BundleEntry> {
        let number = self.common.method;
        let method = EntryMethod::from_number(number)
            .ok_or_else(|| reject(&self.name, format!("compression method {number} is unknown")))?;
        Ok(BundleEntry {
            start: self.start,
            len: end - self.start,
            size: self.common.size,
            executable: self.mode & EXECUTABLE != 0,
            method,
            crc: self.common.crc,
            compressed: self.common.compressed,
            flags: self.common.flags,
            folder: self.is_folder(),
            blocks: self.blocks.unwrap_or_default(),
            crc64: self.crc64,
            shared: self.shared,
            name,
        })
    }
}

/// Returns the one folder that contains everything in a bundle of the reference program, with its
/// trailing slash.
pub(crate) fn common_folder(raw: &[RawEntry]) -> Result<String> {
    let top =
        raw.first().and_then(|raw| raw.name.split_once('/')).map(|(top, _)| format!("{top}/"));
    match top {
        Some(top) if raw.iter().all(|raw| raw.name.starts_with(&top)) => Ok(top),
        _ => Err(reject_archive(
            "it has neither a manifest.json nor one folder that contains everything",
        )),
    }
}
