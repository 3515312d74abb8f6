//! The index of an archive, read from its tail: which entries there are and where, all of it checked.
//!
//! Our bundles ("native") have `manifest.json` at the top. Those of the reference program have none and keep everything
//! below `<component>-<version>/`; names are given without that folder.

use std::{collections::HashMap, fs::File, io, os::unix::fs::FileExt, path::Path};

use super::{
    codec::{Broken, Decoder},
    layout::{
        MANIFEST, MAX_DIRECTORY, MAX_ENTRIES, MAX_FILE, MAX_TOTAL, Tree, check_name, is_bomb, refuse, refuse_archive,
    },
    record::{
        BLOCK, CENTRAL, Common, DESCRIPTOR, END, END_LEN, END64, END64_LEN, END64_LOCATOR, END64_LOCATOR_LEN,
        EXTRA_BLOCKS, FLAG_DESCRIPTOR, FLAG_UTF8, Fields, LOCAL, LOCAL_LEN, Method, find_extra,
    },
};
use crate::error::{Error, Result};

/// An entry that is decoded into memory may not be larger.
const MAX_IN_MEMORY: u64 = 64 << 20;
/// All records at the end of an archive.
const ENDS: u64 = (END_LEN + END64_LOCATOR_LEN + END64_LEN) as u64;
/// As far back as the end record can be when a comment follows it: looked through only to say what is wrong.
const COMMENTED: u64 = END_LEN as u64 + u16::MAX as u64;

/// What `Index::locate` found in a tail.
#[derive(Debug)]
pub(crate) enum Located {
    /// Ask again with all bytes from here to the end.
    NeedMore {
        from_offset: u64,
    },
    Found(Index),
}

/// The files of an archive, by name.
#[derive(Debug)]
pub(crate) struct Index {
    files: Vec<Entry>,
    folders: Vec<Entry>,
    by_name: HashMap<String, usize>,
    /// Every folder that the names imply, a parent first.
    tree: Vec<String>,
    /// `<component>-<version>/` in a bundle of the reference program.
    prefix: Option<String>,
}

/// One file: the bytes `start..start + len` of the archive are its local header and its data, nothing else.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) start: u64,
    pub(crate) len: u64,
    /// Uncompressed, as the headers claim.
    pub(crate) size: u64,
    pub(crate) executable: bool,
    pub(super) method: Method,
    pub(super) crc: u32,
    pub(super) compressed: u64,
    /// Compressed length of each block; empty where there is no block index.
    pub(super) blocks: Vec<u32>,
    flags: u16,
}

impl Index {
    /// `tail` is the end of an archive of `total_len` bytes. 64 KiB are usually enough.
    pub(crate) fn locate(tail: &[u8], total_len: u64) -> Result<Located> {
        let tail_start = total_len
            .checked_sub(tail.len() as u64)
            .ok_or_else(|| Error::internal("the tail of the bundle is longer than the bundle"))?;
        let Some(directory) = Directory::find(tail, total_len)? else {
            return Ok(Located::NeedMore { from_offset: total_len.saturating_sub(COMMENTED + ENDS) });
        };
        if directory.offset < tail_start {
            return Ok(Located::NeedMore { from_offset: directory.offset });
        }
        let from = (directory.offset - tail_start) as usize;
        let bytes = tail.get(from..from + directory.len as usize).ok_or_else(damaged_directory)?;
        Self::from_raw(directory.entries(bytes)?, directory.offset).map(Located::Found)
    }

    /// Reads the index of a local archive.
    pub(crate) fn open(archive: &Path) -> Result<(Self, File)> {
        let failed = |error: io::Error| Error::io("can't read bundle", archive, &error);
        let file = File::open(archive).map_err(failed)?;
        let total = file.metadata().map_err(failed)?.len();
        let mut from = total.saturating_sub(64 << 10);
        loop {
            let mut tail = vec![0; (total - from) as usize];
            file.read_exact_at(&mut tail, from).map_err(failed)?;
            match Self::locate(&tail, total)? {
                Located::Found(index) => return Ok((index, file)),
                Located::NeedMore { from_offset } if from_offset < from => from = from_offset,
                Located::NeedMore { .. } => return Err(damaged_directory()),
            }
        }
    }

    /// The file `name`, for a range request of `start..start + len`.
    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.by_name.get(name).map(|at| &self.files[*at])
    }

    /// Every file, in the order of the archive.
    pub(crate) fn files(&self) -> &[Entry] {
        &self.files
    }

    /// True for a bundle with a manifest, false for one of the reference program.
    pub(crate) fn is_native(&self) -> bool {
        self.prefix.is_none()
    }

    /// The content of a small file from its `len` bytes, CRC checked; whether it is what the manifest says is not.
    pub(crate) fn decode(&self, entry: &Entry, bytes: &[u8]) -> Result<Vec<u8>> {
        if entry.size > MAX_IN_MEMORY {
            return Err(refuse(&entry.name, format!("{} bytes are more than the 64 MiB read into memory", entry.size)));
        }
        if bytes.len() as u64 != entry.len {
            return Err(refuse(&entry.name, format!("got {} of {} bytes", bytes.len(), entry.len)));
        }
        let data = self.check_local(entry, bytes)?;
        let (data, rest) = bytes[data..].split_at_checked(entry.compressed as usize).ok_or_else(damaged_directory)?;
        entry.check_rest(rest)?;
        let mut content = Vec::with_capacity(entry.size.min(1 << 20) as usize);
        entry.decode(&mut Decoder::new(), data, &mut |bytes| {
            content.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(content)
    }

    /// The content of a small file of a local archive, if there is such a file.
    pub(crate) fn read(&self, file: &File, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(entry) = self.entry(name) else { return Ok(None) };
        // Compressed data may be larger than the content, but not by much: else it isn't read at all.
        if entry.len > 2 * MAX_IN_MEMORY {
            return Err(refuse(name, "it is too large to be read into memory"));
        }
        let mut bytes = vec![0; entry.len as usize];
        file.read_exact_at(&mut bytes, entry.start).map_err(|error| refuse(name, error))?;
        self.decode(entry, &bytes).map(Some)
    }

    /// Every folder, a parent first.
    pub(super) fn tree(&self) -> &[String] {
        &self.tree
    }

    /// The folders that have an entry of their own (bundles of the reference program only).
    pub(super) fn folder_entries(&self) -> &[Entry] {
        &self.folders
    }

    /// Compares the local header at the start of `bytes` with the directory; gives where in `bytes` the data begins.
    pub(super) fn check_local(&self, entry: &Entry, bytes: &[u8]) -> Result<usize> {
        let local = LocalHeader::parse(bytes).ok_or_else(|| refuse(&entry.name, "its local header is damaged"))?;
        let prefix = self.prefix.as_deref().unwrap_or_default().as_bytes();
        if local.name.strip_prefix(prefix) != Some(entry.spelled().as_bytes()) {
            let other = local.name.escape_ascii();
            return Err(refuse(&entry.name, format!("its local header gives the name `{other}`")));
        }
        entry.check_fields(&local.common)?;
        Ok(local.len)
    }

    fn from_raw(raw: Vec<Raw>, directory_offset: u64) -> Result<Self> {
        let native = raw.iter().any(|raw| raw.name == MANIFEST);
        let prefix = if native { None } else { Some(common_folder(&raw)?) };
        let mut index = Self { files: vec![], folders: vec![], by_name: HashMap::new(), tree: vec![], prefix };
        let (mut tree, mut total) = (Tree::default(), 0);
        let ends: Vec<u64> = raw.iter().skip(1).map(|raw| raw.start).chain([directory_offset]).collect();
        for (at, (raw, end)) in raw.into_iter().zip(ends).enumerate() {
            raw.check_place(at, end)?;
            raw.check_attributes(native)?;
            total += raw.common.size;
            if total > MAX_TOTAL {
                return Err(refuse_archive(format!("its files exceed {MAX_TOTAL} bytes in all: {total} and counting")));
            }
            index.add(raw, end, &mut tree)?;
        }
        index.tree = tree.folders().into_iter().map(str::to_owned).collect();
        Ok(index)
    }

    fn add(&mut self, raw: Raw, end: u64, tree: &mut Tree) -> Result<()> {
        let folder = raw.is_folder();
        let prefix = self.prefix.as_deref().unwrap_or_default();
        let name = raw.name.strip_prefix(prefix).unwrap_or_default().trim_end_matches('/').to_owned();
        let claimed = match (folder, name.is_empty()) {
            (false, _) => tree.add_file(&name),
            (true, false) => tree.add_folder(&name),
            // The common folder itself.
            (true, true) => Ok(()),
        };
        claimed.map_err(|why| refuse(&raw.name, why))?;
        let entry = raw.into_entry(name, end)?;
        if folder {
            self.folders.push(entry);
        } else {
            self.by_name.insert(entry.name.clone(), self.files.len());
            self.files.push(entry);
        }
        Ok(())
    }
}

impl Entry {
    /// The name below the prefix as the headers spell it.
    fn spelled(&self) -> String {
        let slash = if self.is_folder() && !self.name.is_empty() { "/" } else { "" };
        format!("{}{slash}", self.name)
    }

    /// Folders are entries without a place for blocks, content or mode; the reader only checks their headers.
    fn is_folder(&self) -> bool {
        self.flags & FOLDER != 0
    }

    fn check_fields(&self, local: &Common) -> Result<()> {
        let later = self.flags & FLAG_DESCRIPTOR != 0;
        let mut pairs = vec![("flags", u64::from(local.flags), u64::from(self.flags & !FOLDER))];
        pairs.push(("method", local.method.into(), self.method as u64));
        // With a data descriptor the local header may leave these three to it.
        let left_out = later && local.crc == 0 && local.compressed == 0 && local.size == 0;
        if !left_out {
            pairs.push(("checksum", local.crc.into(), self.crc.into()));
            pairs.push(("compressed size", local.compressed, self.compressed));
            pairs.push(("size", local.size, self.size));
        }
        match pairs.into_iter().find(|(_, local, central)| local != central) {
            None => Ok(()),
            Some((field, local, central)) => Err(refuse(
                &self.name,
                format!("its {field} is {local} in the local header, {central} in the directory"),
            )),
        }
    }

    /// `rest` is what stands between the data and the next entry: nothing, or the data descriptor that was announced.
    pub(super) fn check_rest(&self, rest: &[u8]) -> Result<()> {
        if self.flags & FLAG_DESCRIPTOR == 0 {
            return if rest.is_empty() { Ok(()) } else { Err(gap(&self.name)) };
        }
        let bare = rest.strip_prefix(&DESCRIPTOR.to_le_bytes()).unwrap_or(rest);
        let mut fields = Fields(bare);
        let found = match bare.len() {
            12 => fields.u32().zip(fields.u32().zip(fields.u32())).map(|(a, (b, c))| (a, b.into(), c.into())),
            20 => fields.u32().zip(fields.u64().zip(fields.u64())).map(|(a, (b, c))| (a, b, c)),
            _ => None,
        };
        match found {
            Some(found) if found == (self.crc, self.compressed, self.size) => Ok(()),
            _ => Err(refuse(&self.name, "its data descriptor is damaged or differs from the directory")),
        }
    }

    /// Decodes `source`, which holds the data and nothing else, into `sink`; size and CRC are checked on the way.
    pub(super) fn decode(
        &self,
        decoder: &mut Decoder,
        source: impl io::BufRead,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut check = Check::new(self);
        let outcome = decoder.decode(self.method, source, &mut |bytes| {
            check.update(bytes)?;
            sink(bytes)
        });
        match outcome {
            Ok(()) => check.finish(),
            Err(Broken::Sink(error)) => Err(error),
            Err(Broken::Data(error)) => Err(damaged(&self.name, &error)),
        }
    }
}

/// The data of an entry can't be decoded.
pub(super) fn damaged(name: &str, error: &io::Error) -> Error {
    refuse(name, format!("its data is damaged: {error}"))
}

/// Content against the size and checksum that the headers claim. Stops at the first byte too many.
pub(super) struct Check<'a> {
    entry: &'a Entry,
    crc: crc32fast::Hasher,
    seen: u64,
}

impl<'a> Check<'a> {
    pub(super) fn new(entry: &'a Entry) -> Self {
        Self { entry, crc: crc32fast::Hasher::new(), seen: 0 }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) -> Result<()> {
        self.seen += bytes.len() as u64;
        if self.seen > self.entry.size {
            return Err(refuse(&self.entry.name, format!("it is larger than the {} bytes it claims", self.entry.size)));
        }
        self.crc.update(bytes);
        Ok(())
    }

    pub(super) fn finish(self) -> Result<()> {
        let Self { entry, crc, seen } = self;
        if seen != entry.size {
            return Err(refuse(&entry.name, format!("it has {seen} bytes, not the {} it claims", entry.size)));
        }
        let crc = crc.finalize();
        if crc != entry.crc {
            return Err(refuse(&entry.name, format!("its CRC-32 is {crc:08x}, not {:08x}", entry.crc)));
        }
        Ok(())
    }
}

/// Where the central directory is.
struct Directory {
    entries: u64,
    offset: u64,
    len: u64,
}

impl Directory {
    /// `None`: more of the tail is needed.
    fn find(tail: &[u8], total: u64) -> Result<Option<Self>> {
        if (tail.len() as u64) < total.min(ENDS) {
            return Ok(None);
        }
        let end = tail.len().checked_sub(END_LEN).map(|at| &tail[at..]).filter(|end| is_end(end));
        let Some(end) = end else {
            let whole = tail.len() as u64 >= total.min(COMMENTED + ENDS);
            return if whole { Err(no_end(tail, total)) } else { Ok(None) };
        };
        let (directory, end_at) = Self::parse(tail, end, total)
            .ok_or_else(|| refuse_archive("its end records contradict each other, or it is one of several parts"))?;
        directory.check(end_at)?;
        Ok(Some(directory))
    }

    /// The directory and where it has to end.
    fn parse(tail: &[u8], end: &[u8], total: u64) -> Option<(Self, u64)> {
        let mut fields = Fields(&end[4..]);
        let disks = (fields.u16()?, fields.u16()?);
        let (here, entries) = (fields.u16()?, fields.u16()?);
        let (len, offset) = (fields.u32()?, fields.u32()?);
        let narrow = Self { entries: entries.into(), offset: offset.into(), len: len.into() };
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

    /// The zip64 records, which must agree with the narrow one wherever that gives a value.
    fn widened(self, tail: &[u8], end_at: u64) -> Option<(Self, u64)> {
        let at = tail.len().checked_sub(ENDS as usize)?;
        let place = end_at.checked_sub((END64_LOCATOR_LEN + END64_LEN) as u64)?;
        let mut fields = Fields(&tail[at..]);
        let head = (fields.u32()?, fields.u64()?);
        let _versions = fields.u32()?;
        let disks = (fields.u32()?, fields.u32()?);
        let (here, entries, len, offset) = (fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?);
        let locator = (fields.u32()?, fields.u32()?, fields.u64()?, fields.u32()?);
        let agrees = head == (END64, END64_LEN as u64 - 12)
            && disks == (0, 0)
            && here == entries
            && locator == (END64_LOCATOR, 0, place, 1)
            && (self.entries == u64::from(u16::MAX) || self.entries == entries)
            && (self.len == u64::from(u32::MAX) || self.len == len)
            && (self.offset == u64::from(u32::MAX) || self.offset == offset);
        agrees.then_some((Self { entries, offset, len }, place))
    }

    fn check(&self, end_at: u64) -> Result<()> {
        if self.entries > MAX_ENTRIES as u64 {
            return Err(refuse_archive(format!("it has {} entries, more than {MAX_ENTRIES}", self.entries)));
        }
        if self.len > MAX_DIRECTORY {
            return Err(refuse_archive(format!("its directory has {} bytes, more than {MAX_DIRECTORY}", self.len)));
        }
        match self.offset.checked_add(self.len) {
            Some(end) if end == end_at => Ok(()),
            Some(end) if end < end_at => {
                Err(refuse_archive(format!("{} bytes stand before it or between its parts", end_at - end)))
            }
            _ => Err(refuse_archive("it is truncated: its directory would reach beyond its end")),
        }
    }

    fn entries(&self, bytes: &[u8]) -> Result<Vec<Raw>> {
        let mut fields = Fields(bytes);
        let raw: Vec<_> = (0..self.entries).map(|_| Raw::parse(&mut fields)).collect::<Result<_>>()?;
        if fields.0.is_empty() { Ok(raw) } else { Err(damaged_directory()) }
    }
}

fn is_end(bytes: &[u8]) -> bool {
    bytes.starts_with(&END.to_le_bytes()) && bytes.ends_with(&[0, 0])
}

/// Says what is at the end of an archive in the place of the end record.
fn no_end(tail: &[u8], total: u64) -> Error {
    let magic = END.to_le_bytes();
    match tail.windows(4).rposition(|window| window == magic) {
        Some(at) if tail.len() - at >= END_LEN => {
            refuse_archive(format!("{} bytes follow its end record", tail.len() - at - END_LEN))
        }
        _ => refuse_archive(format!("it is truncated or not a zip: got {total} bytes and no end record")),
    }
}

fn damaged_directory() -> Error {
    refuse_archive("its directory is damaged")
}

fn gap(name: &str) -> Error {
    refuse(name, "bytes that belong to no entry follow it")
}

/// An entry of the directory as it stands there, its name known to be good.
struct Raw {
    name: String,
    common: Common,
    made_by: u16,
    comment_len: u16,
    mode: u32,
    start: u64,
    blocks: Option<Vec<u32>>,
}

/// Not a flag of zip: bit 15 is reserved there and refused in what is read. Marks folders in an `Entry`.
const FOLDER: u16 = 1 << 15;
const ENCRYPTION: u16 = 1 | 1 << 6 | 1 << 13;
/// Two bits say how hard deflate tried.
const EFFORT: u16 = 0b110;

const TYPE: u32 = 0o170_000;
const TYPE_FOLDER: u32 = 0o040_000;
const TYPE_REGULAR: u32 = 0o100_000;
const TYPE_LINK: u32 = 0o120_000;
const SPECIAL: u32 = 0o7000;
const EXECUTABLE: u32 = 0o111;

impl Raw {
    fn parse(fields: &mut Fields<'_>) -> Result<Self> {
        let (mut raw, name, extra) = Self::fields(fields).ok_or_else(damaged_directory)?;
        raw.set_name(name)?;
        let widened = raw.common.widen(extra, Some(&mut raw.start));
        let blocks = find_extra(extra, EXTRA_BLOCKS);
        let (Some(()), Some(blocks)) = (widened, blocks) else {
            return Err(refuse(&raw.name, "its extra fields are damaged"));
        };
        if let Some(blocks) = blocks.filter(|_| raw.common.method == Method::Zstd as u16) {
            raw.blocks = Some(raw.check_blocks(blocks)?);
        }
        Ok(raw)
    }

    fn fields<'a>(fields: &mut Fields<'a>) -> Option<(Self, &'a [u8], &'a [u8])> {
        if fields.u32()? != CENTRAL {
            return None;
        }
        let made_by = fields.u16()?;
        let common = Common::parse(fields)?;
        let comment_len = fields.u16()?;
        let disk = fields.u16()?;
        let _internal = fields.u16()?;
        let (mode, start) = (fields.u32()? >> 16, fields.u32()?.into());
        let name = fields.bytes(common.name_len)?;
        let extra = fields.bytes(common.extra_len)?;
        fields.bytes(comment_len.into())?;
        let raw = Self { name: String::new(), common, made_by, comment_len, mode, start, blocks: None };
        (disk == 0).then_some((raw, name, extra))
    }

    fn set_name(&mut self, bytes: &[u8]) -> Result<()> {
        let escaped = || bytes.escape_ascii().to_string();
        let name = std::str::from_utf8(bytes).map_err(|_| refuse(&escaped(), "the name is not UTF-8"))?;
        if !name.is_ascii() && self.common.flags & FLAG_UTF8 == 0 {
            return Err(refuse(name, "the name is not marked as UTF-8"));
        }
        check_name(name.strip_suffix('/').unwrap_or(name)).map_err(|why| refuse(name, why))?;
        name.clone_into(&mut self.name);
        Ok(())
    }

    /// The lengths of the blocks, if they cover the data exactly.
    fn check_blocks(&self, bytes: &[u8]) -> Result<Vec<u32>> {
        let blocks: Vec<u32> = bytes.as_chunks().0.iter().map(|chunk: &[u8; 4]| u32::from_le_bytes(*chunk)).collect();
        let sum: u64 = blocks.iter().map(|len| u64::from(*len)).sum();
        let sound = bytes.len().is_multiple_of(4)
            && blocks.len() as u64 == self.common.size.div_ceil(BLOCK)
            && sum == self.common.compressed
            && blocks.iter().all(|len| u64::from(*len) <= BLOCK + BLOCK / 8);
        if sound { Ok(blocks) } else { Err(refuse(&self.name, "its block index doesn't fit its sizes")) }
    }

    /// Where it stands: the first at 0, each behind the one before it, with room for what it claims.
    fn check_place(&self, at: usize, end: u64) -> Result<()> {
        let Common { compressed, size, .. } = self.common;
        if at == 0 && self.start != 0 {
            return Err(refuse_archive(format!("{} bytes stand before its first entry", self.start)));
        }
        let least = compressed.checked_add((LOCAL_LEN + self.name.len()) as u64);
        if least.and_then(|least| self.start.checked_add(least)).is_none_or(|least| least > end) {
            return Err(refuse(&self.name, "it overlaps another entry or the directory"));
        }
        if size > MAX_FILE {
            return Err(refuse(&self.name, format!("it claims {size} bytes, more than {MAX_FILE}")));
        }
        if is_bomb(size, compressed) {
            return Err(refuse(
                &self.name,
                format!("it claims to grow from {compressed} to {size} bytes, more than 200:1"),
            ));
        }
        Ok(())
    }

    fn check_attributes(&self, native: bool) -> Result<()> {
        self.check_flags(native).map_err(|why| refuse(&self.name, why))?;
        self.check_mode(native).map_err(|why| refuse(&self.name, why))?;
        if self.is_folder() && (self.common.size, self.common.compressed) != (0, 0) {
            return Err(refuse(&self.name, "it is a folder with content"));
        }
        Ok(())
    }

    fn check_flags(&self, native: bool) -> Result<(), &'static str> {
        let flags = self.common.flags;
        if flags & ENCRYPTION != 0 {
            return Err("it is encrypted");
        }
        if native && flags & FLAG_DESCRIPTOR != 0 {
            return Err("it has a data descriptor, which bundles don't use");
        }
        let known = FLAG_UTF8 | if native { 0 } else { FLAG_DESCRIPTOR | EFFORT };
        if flags & !known != 0 {
            return Err("it has flags that bundles don't use");
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
            return Err("it is a folder, which bundles don't list");
        }
        if native && (self.made_by >> 8 != 3 || !matches!(self.mode, 0o100_644 | 0o100_755)) {
            return Err("its mode is neither 0644 nor 0755");
        }
        Ok(())
    }

    fn is_folder(&self) -> bool {
        self.name.ends_with('/')
    }

    fn into_entry(self, name: String, end: u64) -> Result<Entry> {
        let number = self.common.method;
        let method = Method::from_number(number)
            .ok_or_else(|| refuse(&self.name, format!("compression method {number} is unknown")))?;
        Ok(Entry {
            start: self.start,
            len: end - self.start,
            size: self.common.size,
            executable: self.mode & EXECUTABLE != 0,
            method,
            crc: self.common.crc,
            compressed: self.common.compressed,
            flags: self.common.flags | if self.is_folder() { FOLDER } else { 0 },
            blocks: self.blocks.unwrap_or_default(),
            name,
        })
    }
}

/// The one folder that a bundle of the reference program keeps everything in, with its slash.
fn common_folder(raw: &[Raw]) -> Result<String> {
    let top = raw.first().and_then(|raw| raw.name.split_once('/')).map(|(top, _)| format!("{top}/"));
    match top {
        Some(top) if raw.iter().all(|raw| raw.name.starts_with(&top)) => Ok(top),
        _ => Err(refuse_archive("it has neither a manifest.json nor one folder that holds everything")),
    }
}

struct LocalHeader<'a> {
    name: &'a [u8],
    common: Common,
    /// Of the whole header.
    len: usize,
}

impl<'a> LocalHeader<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        if fields.u32()? != LOCAL {
            return None;
        }
        let mut common = Common::parse(&mut fields)?;
        let name = fields.bytes(common.name_len)?;
        let extra = fields.bytes(common.extra_len)?;
        common.widen(extra, None)?;
        let len = LOCAL_LEN + common.name_len + common.extra_len;
        Some(Self { name, common, len })
    }
}

/// The length of a whole local header, from its fixed part.
pub(super) fn local_len(fixed: &[u8; LOCAL_LEN]) -> usize {
    let at = |i: usize| usize::from(u16::from_le_bytes([fixed[i], fixed[i + 1]]));
    LOCAL_LEN + at(26) + at(28)
}
