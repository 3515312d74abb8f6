//! Putting a bundle together. The bytes depend on names, content and modes alone: not on threads, times, umask or folders.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    codec::{BlockWriter, Deflater},
    layout::{MANIFEST, MAX_DIRECTORY, MAX_ENTRIES, MAX_FILE, MAX_TOTAL, SEGMENT, is_bomb, rank},
    manifest::{BundleManifest, FileEntry, TerraformIdentity, check_names},
    record::{BLOCK, EntryMethod, EntryRecord, end},
};
use crate::base::{
    digest::{Hasher, Sha256},
    error::{Error, Result},
    parallel::{Item, in_order, threads},
};

/// Where the content of a file comes from.
#[derive(Debug)]
pub(crate) enum EntrySource {
    /// A regular file; a link to one is followed.
    Path(PathBuf),
    Bytes(Vec<u8>),
}

/// A file that goes into the bundle.
#[derive(Debug)]
pub(crate) struct StagedFile {
    /// As `check_name` allows; `manifest.json` is the writer's.
    pub(crate) name: String,
    pub(crate) source: EntrySource,
    pub(crate) executable: bool,
}

/// What the manifest says beside the files.
#[derive(Clone, Debug)]
pub(crate) struct BundleHeader {
    pub(crate) source_digest: Sha256,
    pub(crate) terraform: TerraformIdentity,
}

/// A bundle on disk.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub(crate) path: PathBuf,
    /// Of the archive, in bytes.
    pub(crate) size: u64,
    /// The bundle digest: the SHA-256 of the manifest.
    pub(crate) digest: Sha256,
    pub(crate) manifest: BundleManifest,
}

/// Writes a new file at `to`, flushed to the disk; what is there already is an error. After a failure the file is gone.
pub(crate) fn write(files: Vec<StagedFile>, header: BundleHeader, to: &Path) -> Result<Bundle> {
    write_with(threads(), files, header, to)
}

pub(crate) fn write_with(
    threads: usize,
    files: Vec<StagedFile>,
    header: BundleHeader,
    to: &Path,
) -> Result<Bundle> {
    let planned = plan(files)?;
    let failed = |error: io::Error| Error::io("can't write bundle", to, &error);
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).open(to).map_err(failed)?;
    let partial = UnfinishedFile { path: to, kept: false };
    let mut out =
        BundleOutput { file, path: to, at: 0, records: Vec::with_capacity(planned.len() + 1) };
    let files = out.put_files(threads, planned)?;
    let manifest = BundleManifest::new(header.source_digest, header.terraform, files);
    let bytes = manifest.to_bytes()?;
    let packed = pack(&mut Deflater::new(), MANIFEST.to_owned(), false, &bytes)?;
    out.put(packed)?;
    let size = out.finish()?;
    partial.keep();
    Ok(Bundle { path: to.to_owned(), size, digest: Sha256::of(&bytes), manifest })
}

/// A file and the size that it has to keep until it is read.
struct PlannedEntry {
    file: StagedFile,
    size: u64,
}

/// Checks names and limits; gives the order of the entries.
fn plan(files: Vec<StagedFile>) -> Result<Vec<PlannedEntry>> {
    if files.len() >= MAX_ENTRIES {
        return Err(too_much(format!("{} files are more than {}", files.len(), MAX_ENTRIES - 1)));
    }
    check_names(files.iter().map(|file| &file.name)).map_err(as_input)?;
    let mut planned = files.into_iter().map(measure).collect::<Result<Vec<_>>>()?;
    let total: u64 = planned.iter().map(|planned| planned.size).sum();
    if total > MAX_TOTAL {
        return Err(too_much(format!("{total} bytes are more than {MAX_TOTAL}")));
    }
    planned.sort_by(|a, b| rank(&a.file.name, a.size).cmp(&rank(&b.file.name, b.size)));
    Ok(planned)
}

fn measure(file: StagedFile) -> Result<PlannedEntry> {
    let size = match &file.source {
        EntrySource::Bytes(bytes) => bytes.len() as u64,
        EntrySource::Path(path) => regular_size(path)?,
    };
    if size > MAX_FILE {
        return Err(too_much(format!("`{}` has {size} bytes, more than {MAX_FILE}", file.name)));
    }
    Ok(PlannedEntry { file, size })
}

fn regular_size(path: &Path) -> Result<u64> {
    let found = fs::metadata(path).map_err(|error| Error::io("can't read", path, &error))?;
    if found.is_file() {
        Ok(found.len())
    } else {
        Err(Error::input(format!("can't bundle `{}`", path.display()))
            .why("it is not a regular file"))
    }
}

fn too_much(why: String) -> Error {
    Error::input("the release is too large for a bundle")
        .why(why)
        .hint("leave out what a deployment doesn't need")
}

/// The rules are the reader's; broken by our own input they are the person's to mend.
fn as_input(error: Error) -> Error {
    Error::input(error.to_string())
}

/// The archive so far.
struct BundleOutput<'a> {
    file: File,
    path: &'a Path,
    at: u64,
    records: Vec<EntryRecord>,
}

/// An entry ready to be put anywhere in the archive.
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
    ) -> Result<BTreeMap<String, FileEntry>> {
        let mut files = BTreeMap::new();
        let small = planned.partition_point(|planned| planned.size >= SEGMENT);
        let mut planned = planned.into_iter();
        for segment in planned.by_ref().take(small) {
            let (name, entry) = self.put_segment(threads, segment)?;
            files.insert(name, entry);
        }
        // Content, compressed content and room to compress.
        let items = planned.map(|item| Ok(Item { cost: 2 * item.size as usize + 4096, item }));
        in_order(
            threads,
            items,
            || Ok(Deflater::new()),
            |deflater, planned| {
                let content = read_small(&planned)?;
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
        self.records.push(record);
        Ok((name, entry))
    }

    /// Compressed block by block; sizes and checksum are known, and patched, at the end.
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
        };
        let mut content = EntryContent::open(&planned)?;
        let start = self.at;
        self.append(&record.local())?;
        in_order(
            threads,
            content.blocks(),
            BlockWriter::new,
            |writer, block| writer.compress(&block),
            |block| {
                record.blocks.push(block.len() as u32);
                self.append(&block)
            },
        )?;
        let (sha256, crc) = content.finish()?;
        record.crc = crc;
        record.compressed = record.blocks.iter().map(|block| u64::from(*block)).sum();
        if is_bomb(record.size, record.compressed) {
            self.restart(start)?;
            self.store(&planned, &mut record)?;
        }
        self.file.write_all_at(&record.local(), start).map_err(|error| self.failed(&error))?;
        self.records.push(record);
        let entry = FileEntry { sha256, size: planned.size, executable: planned.file.executable };
        Ok((planned.file.name, entry))
    }

    /// For what zstd shrinks so well that a reader would take it for a bomb.
    fn store(&mut self, planned: &PlannedEntry, record: &mut EntryRecord) -> Result<()> {
        (record.method, record.compressed) = (EntryMethod::Stored, record.size);
        record.blocks.clear();
        self.append(&record.local())?;
        let mut content = EntryContent::open(planned)?;
        for block in content.blocks() {
            self.append(&block?.item)?;
        }
        match content.finish()? {
            (_, crc) if crc == record.crc => Ok(()),
            _ => Err(changed(planned)),
        }
    }

    fn restart(&mut self, at: u64) -> Result<()> {
        self.at = at;
        self.file.set_len(at).map_err(|error| self.failed(&error))
    }

    /// The directory and the end; gives the size of the archive.
    fn finish(&mut self) -> Result<u64> {
        let start = self.at;
        let directory: Vec<u8> = self.records.iter().flat_map(EntryRecord::central).collect();
        let len = directory.len() as u64;
        if len > MAX_DIRECTORY {
            return Err(too_much(format!(
                "the names of its files need {len} bytes, more than {MAX_DIRECTORY}"
            )));
        }
        self.append(&directory)?;
        self.append(&end(self.records.len() as u64, len, start))?;
        self.file.sync_all().map_err(|error| self.failed(&error))?;
        Ok(self.at)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, self.at).map_err(|error| self.failed(&error))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> Error {
        Error::io("can't write bundle", self.path, error)
    }
}

/// Makes a whole entry in memory.
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

fn read_small(planned: &PlannedEntry) -> Result<Vec<u8>> {
    let mut content = Vec::with_capacity(planned.size as usize);
    for block in EntryContent::open(planned)?.unhashed_blocks() {
        content.append(&mut block?);
    }
    Ok(content)
}

/// The content of a file, read once: hashed as it passes, and exactly as long as it was when it was measured.
struct EntryContent<'a> {
    planned: &'a PlannedEntry,
    reader: Box<dyn Read + 'a>,
    left: u64,
    sha256: Hasher,
    crc: crc32fast::Hasher,
}

impl<'a> EntryContent<'a> {
    fn open(planned: &'a PlannedEntry) -> Result<Self> {
        let reader: Box<dyn Read> = match &planned.file.source {
            EntrySource::Bytes(bytes) => Box::new(bytes.as_slice()),
            EntrySource::Path(path) => {
                Box::new(File::open(path).map_err(|error| Error::io("can't read", path, &error))?)
            }
        };
        let (sha256, crc) = (Hasher::default(), crc32fast::Hasher::new());
        Ok(Self { planned, reader, left: planned.size, sha256, crc })
    }

    fn blocks(&mut self) -> impl Iterator<Item = Result<Item<Vec<u8>>>> {
        std::iter::from_fn(|| {
            let block = self.next_block();
            if let Ok(Some(block)) = &block {
                self.sha256.update(block);
                self.crc.update(block);
            }
            block.map(|block| block.map(|item| Item { cost: 2 * item.len(), item })).transpose()
        })
    }

    fn unhashed_blocks(&mut self) -> impl Iterator<Item = Result<Vec<u8>>> {
        std::iter::from_fn(|| self.next_block().transpose())
    }

    /// The next block; at the end makes sure that there is nothing more.
    fn next_block(&mut self) -> Result<Option<Vec<u8>>> {
        let mut block = Vec::with_capacity(self.left.min(BLOCK) as usize);
        let most = self.left.clamp(1, BLOCK);
        let read = self
            .reader
            .by_ref()
            .take(most)
            .read_to_end(&mut block)
            .map_err(|error| self.failed(&error))?;
        match self.left {
            0 if read == 0 => Ok(None),
            left if left != 0 && read as u64 == most => {
                self.left -= most;
                Ok(Some(block))
            }
            _ => Err(changed(self.planned)),
        }
    }

    fn finish(self) -> Result<(Sha256, u32)> {
        if self.left == 0 {
            Ok((self.sha256.finish(), self.crc.finalize()))
        } else {
            Err(changed(self.planned))
        }
    }

    fn failed(&self, error: &io::Error) -> Error {
        match &self.planned.file.source {
            EntrySource::Path(path) => Error::io("can't read", path, error),
            EntrySource::Bytes(_) => Error::internal("memory can't be read").why(error),
        }
    }
}

fn changed(planned: &PlannedEntry) -> Error {
    let place = match &planned.file.source {
        EntrySource::Path(path) => path.display().to_string(),
        EntrySource::Bytes(_) => planned.file.name.clone(),
    };
    Error::input(format!("`{place}` changed while it was read"))
        .hint("make sure that nothing else writes into the folder, then run the release again")
}

/// A file that is incomplete: removed when dropped, also by a panic.
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
            // The failure that brought us here is what has to be told.
            let _ = fs::remove_file(self.path);
        }
    }
}
