//! Writes a bundle. Its bytes depend only on names, content and modes, and not on threads, times,
//! the umask or folders. Segments that the store has are left out of the file: their bytes are
//! copied within the store, or stay in a shared segment.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    codec::{BlockWriter, Deflater},
    known_segment::{KnownSegment, SegmentPlace},
    layout::{MANIFEST, MAX_DIRECTORY, SEGMENT, is_bomb},
    manifest::{BundleManifest, FileEntry, TerraformIdentity, is_kept},
    record::{EntryMethod, EntryRecord, end},
    shared_segment::{SegmentPlan, SharedSegment},
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
    /// Of the object; its length is the size.
    pub(crate) checksum: Crc64,
    /// The bytes of the object that are copied from other objects of the store.
    pub(crate) copies: Vec<CopiedRange>,
    /// The segments that the object does not have.
    pub(crate) shared: Vec<SharedSegment>,
    /// The bundle digest: the SHA-256 of the manifest.
    pub(crate) digest: Sha256,
    pub(crate) manifest: BundleManifest,
}

impl Bundle {
    /// Returns the size of the object in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.checksum.len
    }

    /// Returns the content of the object.
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
    segments: &SegmentPlan,
    to: &Path,
    progress: &Progress,
) -> Result<Bundle> {
    write_with(threads(), files, header, segments, to, progress)
}

pub(crate) fn write_with(
    threads: usize,
    files: Vec<StagedFile>,
    header: BundleHeader,
    segments: &SegmentPlan,
    to: &Path,
    progress: &Progress,
) -> Result<Bundle> {
    let planned = plan(files)?;
    let read = planned.iter().filter(|planned| !segments.known.contains_key(&planned.file.name));
    progress.set_total(read.map(|planned| planned.size).sum());
    let mut out = BundleOutput::create(to, progress)?;
    let partial = UnfinishedFile { path: to, kept: false };
    let files = out.put_files(threads, planned, segments)?;
    let manifest = BundleManifest::new(header.source_digest, header.terraform, files);
    let bytes = manifest.to_bytes()?;
    let packed = pack(&mut Deflater::new()?, MANIFEST.to_owned(), false, &bytes)?;
    out.put(packed)?;
    out.finish()?;
    partial.keep();
    let BundleOutput { checksum, copies, shared, .. } = out;
    let (path, digest) = (to.to_owned(), Sha256::of(&bytes));
    Ok(Bundle { path, checksum, copies, shared, digest, manifest })
}

/// The archive so far.
struct BundleOutput<'a> {
    file: File,
    path: &'a Path,
    /// Offset in the archive, as the directory has it.
    at: u64,
    /// How many bytes of the archive are in shared segments, and not in the object.
    left_out: u64,
    /// Of the complete entries of the object.
    checksum: Crc64,
    records: Vec<EntryRecord>,
    copies: Vec<CopiedRange>,
    shared: Vec<SharedSegment>,
    progress: &'a Progress,
}

/// An entry that can be written at any offset of the archive.
struct PackedEntry {
    record: EntryRecord,
    /// Local header and data.
    bytes: Vec<u8>,
    entry: FileEntry,
}

impl<'a> BundleOutput<'a> {
    fn create(path: &'a Path, progress: &'a Progress) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path);
        Ok(Self {
            file: file.map_err(|error| Error::io("cannot write bundle", path, &error))?,
            path,
            at: 0,
            left_out: 0,
            checksum: Crc64::of(&[]),
            records: Vec::new(),
            copies: Vec::new(),
            shared: Vec::new(),
            progress,
        })
    }

    fn put_files(
        &mut self,
        threads: usize,
        planned: Vec<PlannedEntry>,
        segments: &SegmentPlan,
    ) -> Result<BTreeMap<String, FileEntry>> {
        let mut files = BTreeMap::new();
        let small = planned.partition_point(|planned| planned.size >= SEGMENT);
        let mut planned = planned.into_iter();
        for segment in planned.by_ref().take(small) {
            let PlannedEntry { file, size } = &segment;
            let (name, entry) = match (segments.known.get(&file.name), &segments.share_in) {
                (Some(known), _) => self.put_known(segment, known)?,
                (None, Some(folder)) if is_kept(&file.name, file.executable, *size) => {
                    let to = folder.join(format!("{}.zip", self.shared.len()));
                    self.put_shared(threads, segment, &to)?
                }
                (None, _) => self.put_segment(threads, segment)?,
            };
            files.insert(name, entry);
        }
        // Memory for the content and the compressed content, in bytes.
        let items = planned
            .map(|item| Ok(Item { cost: 2 * item.size as usize + 4096, work: item.size, item }));
        let progress = self.progress;
        in_order(
            threads,
            items,
            Deflater::new,
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

    /// Leaves a hole for copied bytes, and no space for shared ones.
    fn put_known(
        &mut self,
        planned: PlannedEntry,
        known: &KnownSegment,
    ) -> Result<(String, FileEntry)> {
        let PlannedEntry { file, size } = planned;
        self.records.push(known.record(&file.name, file.executable, size, self.at)?);
        let len = known.checksum().len;
        match known.place() {
            SegmentPlace::Copied(from, start) => {
                let (from, at) = (Arc::clone(from), self.at - self.left_out);
                CopiedRange { at, len, from, start: *start }.append_to(&mut self.copies);
                self.checksum = self.checksum.then(known.checksum());
            }
            SegmentPlace::Shared(sha256) => {
                self.shared.push(SharedSegment { sha256: *sha256, len, file: None });
                self.left_out += len;
            }
        }
        self.at += len;
        let entry = FileEntry { sha256: known.sha256(), size, executable: file.executable };
        Ok((file.name, entry))
    }

    /// Writes the new shared segment `to`, which is an archive of this file alone.
    fn put_shared(
        &mut self,
        threads: usize,
        planned: PlannedEntry,
        to: &Path,
    ) -> Result<(String, FileEntry)> {
        let mut alone = BundleOutput::create(to, self.progress)?;
        let placed = alone.put_segment(threads, planned)?;
        let len = alone.at;
        alone.finish()?;
        let segment = SharedSegment::new(to, len)?;
        let shared = Some(segment.sha256);
        let records = alone.records.into_iter();
        self.records.extend(records.map(|it| EntryRecord { offset: self.at, shared, ..it }));
        self.shared.push(segment);
        self.at += len;
        self.left_out += len;
        Ok(placed)
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
            shared: None,
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
        self.write(&header, start)?;
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
        self.file.set_len(at - self.left_out).map_err(|error| self.failed(&error))
    }

    /// Writes the directory and the end records.
    fn finish(&mut self) -> Result<()> {
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
        self.checksum = self.checksum.then(Crc64::of(&tail));
        self.file.sync_all().map_err(|error| self.failed(&error))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.write(bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Writes bytes that are `at` this offset in the archive.
    fn write(&self, bytes: &[u8], at: u64) -> Result<()> {
        self.file.write_all_at(bytes, at - self.left_out).map_err(|error| self.failed(&error))
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
        shared: None,
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
