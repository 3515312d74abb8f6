//! Writes a bundle. Its bytes depend only on names, content and modes, and not on threads, times,
//! the umask or folders. Segments that another release has are left out of the file: their bytes
//! are copied within the store.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    codec::{BlockWriter, Deflater},
    known_segment::{KnownSegment, KnownSegments},
    layout::{MANIFEST, MAX_DIRECTORY, SEGMENT, is_bomb},
    manifest::{BundleManifest, FileEntry, TerraformIdentity},
    record::{EntryMethod, EntryRecord, end},
    staged_content::{EntryContent, changed},
    staged_file::{PlannedEntry, StagedFile, plan, too_much},
};
use crate::{
    base::{
        crc64::{Crc64, Crc64Hasher},
        digest::Sha256,
        error::{Error, Result},
        log::Progress,
        parallel::{Item, in_order, threads},
    },
    services::store::composed::{Composed, CopiedRange},
};

/// The fields of the manifest apart from the files.
#[derive(Clone, Debug)]
pub(crate) struct BundleHeader {
    pub(crate) source_digest: Sha256,
    pub(crate) terraform: TerraformIdentity,
}

/// A bundle on disk.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub(crate) path: PathBuf,
    /// Of the whole archive; its length is the size.
    pub(crate) checksum: Crc64,
    /// The bytes that the file does not have, but other objects of the store.
    pub(crate) copies: Vec<CopiedRange>,
    /// The bundle digest: the SHA-256 of the manifest.
    pub(crate) digest: Sha256,
    pub(crate) manifest: BundleManifest,
}

impl Bundle {
    /// Returns the size of the archive in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.checksum.len
    }

    /// Returns the content of the archive's object.
    pub(crate) fn content(&self) -> Composed {
        let (file, copies) = (self.path.clone(), self.copies.clone());
        Composed { file, checksum: self.checksum, copies }
    }
}

/// Writes a new file at `to` and flushes it to disk. Fails if `to` exists. Removes the file after a
/// failure, such as the end of `progress`.
pub(crate) fn write(
    files: Vec<StagedFile>,
    header: BundleHeader,
    known: &KnownSegments,
    to: &Path,
    progress: &Progress,
) -> Result<Bundle> {
    write_with(threads(), files, header, known, to, progress)
}

pub(crate) fn write_with(
    threads: usize,
    files: Vec<StagedFile>,
    header: BundleHeader,
    known: &KnownSegments,
    to: &Path,
    progress: &Progress,
) -> Result<Bundle> {
    let planned = plan(files)?;
    let read = planned.iter().filter(|planned| !known.contains_key(&planned.file.name));
    progress.set_total(read.map(|planned| planned.size).sum());
    let failed = |error: io::Error| Error::io("cannot write bundle", to, &error);
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).open(to).map_err(failed)?;
    let partial = UnfinishedFile { path: to, kept: false };
    let records = Vec::with_capacity(planned.len() + 1);
    let (checksum, copies) = (Crc64::of(&[]), Vec::new());
    let mut out = BundleOutput { file, path: to, at: 0, checksum, records, copies, progress };
    let files = out.put_files(threads, planned, known)?;
    let manifest = BundleManifest::new(header.source_digest, header.terraform, files);
    let bytes = manifest.to_bytes()?;
    let packed = pack(&mut Deflater::new(), MANIFEST.to_owned(), false, &bytes)?;
    out.put(packed)?;
    let (checksum, copies) = out.finish()?;
    partial.keep();
    Ok(Bundle { path: to.to_owned(), checksum, copies, digest: Sha256::of(&bytes), manifest })
}

/// The archive so far.
struct BundleOutput<'a> {
    file: File,
    path: &'a Path,
    at: u64,
    /// Of the complete entries.
    checksum: Crc64,
    records: Vec<EntryRecord>,
    copies: Vec<CopiedRange>,
    progress: &'a Progress,
}

/// An entry that can be written at any offset of the archive.
struct PackedEntry {
    record: EntryRecord,
    /// Local header and data.
    bytes: Vec<u8>,
    entry: FileEntry,
}

impl BundleOutput<'_> {
    fn put_files(
        &mut self,
        threads: usize,
        planned: Vec<PlannedEntry>,
        known: &KnownSegments,
    ) -> Result<BTreeMap<String, FileEntry>> {
        let mut files = BTreeMap::new();
        let small = planned.partition_point(|planned| planned.size >= SEGMENT);
        let mut planned = planned.into_iter();
        for segment in planned.by_ref().take(small) {
            let (name, entry) = match known.get(&segment.file.name) {
                Some(known) => self.put_known(segment, known)?,
                None => self.put_segment(threads, segment)?,
            };
            files.insert(name, entry);
        }
        // Memory for the content and the compressed content, in bytes.
        let items = planned.map(|item| Ok(Item { cost: 2 * item.size as usize + 4096, item }));
        let progress = self.progress;
        in_order(
            threads,
            items,
            || Ok(Deflater::new()),
            |deflater, planned| {
                let content = read_small(&planned, progress)?;
                pack(deflater, planned.file.name, planned.file.executable, &content)
            },
            |packed| {
                let (name, entry) = self.put(packed)?;
                files.insert(name, entry);
                Ok(())
            },
        )?;
        Ok(files)
    }

    fn put(&mut self, packed: PackedEntry) -> Result<(String, FileEntry)> {
        let PackedEntry { mut record, bytes, entry } = packed;
        record.offset = self.at;
        let name = record.name.clone();
        self.append(&bytes)?;
        self.checksum = self.checksum.then(Crc64::of(&bytes));
        self.records.push(record);
        Ok((name, entry))
    }

    /// Leaves a hole in the file.
    fn put_known(
        &mut self,
        planned: PlannedEntry,
        known: &KnownSegment,
    ) -> Result<(String, FileEntry)> {
        let PlannedEntry { file, size } = planned;
        self.records.push(known.record(&file.name, file.executable, size, self.at)?);
        known.range(self.at).append_to(&mut self.copies);
        self.at += known.checksum().len;
        self.checksum = self.checksum.then(known.checksum());
        let entry = FileEntry { sha256: known.sha256(), size, executable: file.executable };
        Ok((file.name, entry))
    }

    /// Compresses block by block, and writes the sizes and the checksum into the header at the end.
    fn put_segment(
        &mut self,
        threads: usize,
        planned: PlannedEntry,
    ) -> Result<(String, FileEntry)> {
        let mut record = EntryRecord {
            name: planned.file.name.clone(),
            method: EntryMethod::Zstd,
            executable: planned.file.executable,
            crc: 0,
            compressed: 0,
            size: planned.size,
            offset: self.at,
            blocks: Vec::new(),
            crc64: None,
        };
        let mut data = Crc64Hasher::default();
        let mut content = EntryContent::open(&planned, self.progress)?;
        let start = self.at;
        self.append(&record.local())?;
        in_order(
            threads,
            content.blocks(),
            BlockWriter::new,
            |writer, block| writer.compress(&block),
            |block| {
                record.blocks.push(block.len() as u32);
                data.update(&block);
                self.append(&block)
            },
        )?;
        let (sha256, crc) = content.finish()?;
        record.crc = crc;
        record.compressed = record.blocks.iter().map(|block| u64::from(*block)).sum();
        if is_bomb(record.size, record.compressed) {
            self.restart(start)?;
            data = self.store(&planned, &mut record)?;
        }
        let header = record.local();
        self.file.write_all_at(&header, start).map_err(|error| self.failed(&error))?;
        let checksum = Crc64::of(&header).then(data.finish());
        record.crc64 = Some(checksum.sum);
        self.checksum = self.checksum.then(checksum);
        self.records.push(record);
        let entry = FileEntry { sha256, size: planned.size, executable: planned.file.executable };
        Ok((planned.file.name, entry))
    }

    /// Stores a file without compression if it compresses so well that a reader would reject it.
    /// Returns the checksum of the data.
    fn store(&mut self, planned: &PlannedEntry, record: &mut EntryRecord) -> Result<Crc64Hasher> {
        (record.method, record.compressed) = (EntryMethod::Stored, record.size);
        record.blocks.clear();
        self.append(&record.local())?;
        let (mut content, mut data) =
            (EntryContent::open(planned, self.progress)?, Crc64Hasher::default());
        for block in content.blocks() {
            let block = block?.item;
            data.update(&block);
            self.append(&block)?;
        }
        match content.finish()? {
            (_, crc) if crc == record.crc => Ok(data),
            _ => Err(changed(planned)),
        }
    }

    fn restart(&mut self, at: u64) -> Result<()> {
        self.at = at;
        self.file.set_len(at).map_err(|error| self.failed(&error))
    }

    /// Writes the directory and the end records. Returns the checksum of the archive, and what must
    /// be copied into it.
    fn finish(mut self) -> Result<(Crc64, Vec<CopiedRange>)> {
        let start = self.at;
        let directory: Vec<u8> = self.records.iter().flat_map(EntryRecord::central).collect();
        let len = directory.len() as u64;
        if len > MAX_DIRECTORY {
            return Err(too_much(format!(
                "the names of its files need {len} bytes, more than {MAX_DIRECTORY}"
            )));
        }
        let tail = [directory, end(self.records.len() as u64, len, start)].concat();
        self.append(&tail)?;
        self.file.sync_all().map_err(|error| self.failed(&error))?;
        Ok((self.checksum.then(Crc64::of(&tail)), self.copies))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, self.at).map_err(|error| self.failed(&error))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> Error {
        Error::io("cannot write bundle", self.path, error)
    }
}

/// Creates a whole entry in memory.
fn pack(
    deflater: &mut Deflater,
    name: String,
    executable: bool,
    content: &[u8],
) -> Result<PackedEntry> {
    let size = content.len() as u64;
    let crc = crc32fast::hash(content);
    let mut record = EntryRecord {
        name,
        method: EntryMethod::Deflate,
        executable,
        crc,
        compressed: 0,
        size,
        offset: 0,
        blocks: Vec::new(),
        crc64: None,
    };
    let mut bytes = record.local();
    let header = bytes.len();
    record.method = deflater.append(content, &mut bytes)?;
    record.compressed = (bytes.len() - header) as u64;
    bytes[..header].copy_from_slice(&record.local());
    Ok(PackedEntry {
        record,
        bytes,
        entry: FileEntry { sha256: Sha256::of(content), size, executable },
    })
}

fn read_small(planned: &PlannedEntry, progress: &Progress) -> Result<Vec<u8>> {
    let mut content = Vec::with_capacity(planned.size as usize);
    for block in EntryContent::open(planned, progress)?.unhashed_blocks() {
        content.append(&mut block?);
    }
    Ok(content)
}

/// An incomplete file. Dropping it, even by a panic, removes it.
struct UnfinishedFile<'a> {
    path: &'a Path,
    kept: bool,
}

impl UnfinishedFile<'_> {
    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for UnfinishedFile<'_> {
    fn drop(&mut self) {
        if !self.kept {
            // Errors are ignored, because the first failure is the one to report.
            let _ = fs::remove_file(self.path);
        }
    }
}
