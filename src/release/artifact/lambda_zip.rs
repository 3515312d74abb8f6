//! Writes the zip for AWS Lambda, one file per thread. The entries are sorted and have a fixed time
//! and the mode 0644 or 0755, so the same files give the same bytes on every machine.
//!
//! The bytes must not change between versions of cdflow: a release that failed after the upload of
//! its zip makes the same zip when it runs again.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use flate2::{Compression, write::DeflateEncoder};

use crate::{
    base::{
        digest,
        digest::Sha256,
        error::{Error, Result},
        log::Progress,
        parallel::{Item, in_order, threads},
        small_file,
    },
    release::{
        bundle::{
            codec::Deflater,
            record::{EntryMethod, EntryRecord, end_records},
        },
        source,
        source::SourceFile,
    },
};

/// Of files that are not compressed in memory.
const LEVEL: u32 = 6;
/// In bytes. Larger files are not compressed in memory, but by one thread into the zip.
const IN_MEMORY: u64 = 32 << 20;
/// In bytes.
const WRITTEN_AT_ONCE: usize = 1 << 20;
/// In bytes. A thread keeps a buffer of this size for its next file.
const KEPT: usize = 4 << 20;

/// Writes a new file at `to`.
pub(super) fn write(
    files: &BTreeMap<String, SourceFile>,
    to: &Path,
    progress: &Progress,
) -> Result<()> {
    write_with(threads(), files, to, progress)
}

fn write_with(
    threads: usize,
    files: &BTreeMap<String, SourceFile>,
    to: &Path,
    progress: &Progress,
) -> Result<()> {
    let file = File::create_new(to).map_err(|error| failed(to, &error))?;
    let records = Vec::with_capacity(files.len());
    let mut zip = ZipOutput { file, path: to, at: 0, waiting: Vec::new(), records };
    let items = files
        .iter()
        .map(|(name, file)| Ok(Item { item: (name, file), cost: cost(file), work: file.size }));
    in_order(
        threads,
        items,
        Packer::new,
        |packer, (name, file)| match file.size > IN_MEMORY {
            true => Ok(Packed::TooLarge(name, file)),
            false => packer.pack(name, file, progress),
        },
        |packed| match packed {
            Packed::Entry(record, bytes) => zip.put(record, &bytes),
            Packed::TooLarge(name, file) => zip.put_large(name, file, progress),
        },
    )?;
    zip.finish()
}

/// A file that is ready to be added to the zip.
enum Packed<'f> {
    /// With its local header and its data.
    Entry(EntryRecord, Vec<u8>),
    TooLarge(&'f str, &'f SourceFile),
}

/// Returns the memory that a file needs, in bytes: its content, and its compressed content.
fn cost(file: &SourceFile) -> usize {
    if file.size > IN_MEMORY { 0 } else { 2 * file.size as usize + 4096 }
}

/// Compresses files in memory. One per thread, because the state of deflate is larger than most
/// files.
struct Packer {
    deflater: Deflater,
    content: Vec<u8>,
}

impl Packer {
    fn new() -> Result<Self> {
        Ok(Self { deflater: Deflater::new()?, content: Vec::new() })
    }

    fn pack<'f>(
        &mut self,
        name: &str,
        file: &SourceFile,
        progress: &Progress,
    ) -> Result<Packed<'f>> {
        read(name, file, &mut self.content, progress)?;
        let mut record = entry(name, file);
        record.crc = crc32fast::hash(&self.content);
        let mut bytes = record.local();
        let header = bytes.len();
        record.compressed = self.deflater.deflate(&self.content, &mut bytes)? as u64;
        bytes[..header].copy_from_slice(&record.local());
        bytes.shrink_to_fit();
        self.content.clear();
        self.content.shrink_to(KEPT);
        Ok(Packed::Entry(record, bytes))
    }
}

fn entry(name: &str, file: &SourceFile) -> EntryRecord {
    EntryRecord {
        name: name.to_owned(),
        method: EntryMethod::Deflate,
        executable: file.executable,
        crc: 0,
        compressed: 0,
        size: file.size,
        offset: 0,
        blocks: Vec::new(),
        crc64: None,
        shared: None,
    }
}

/// Reads a file that must have its recorded content.
fn read(name: &str, file: &SourceFile, to: &mut Vec<u8>, progress: &Progress) -> Result<()> {
    // One byte more, to notice that it has grown; and space for it, so that few reads are enough.
    to.reserve(file.size as usize + 64);
    let read = small_file::open(&file.path)
        .and_then(|from| progress.reader(from).take(file.size + 1).read_to_end(to));
    read.map_err(|error| progress.or_cancelled(Error::io("cannot read", &file.path, &error)))?;
    if Sha256::of(to) == file.sha256 { Ok(()) } else { Err(source::changed(name)) }
}

/// Copies a file that must have its recorded content, in pieces.
fn copy(
    name: &str,
    file: &SourceFile,
    to: &mut impl Write,
    progress: &Progress,
    failed: impl Fn(io::Error) -> Error,
) -> Result<()> {
    let from = small_file::open(&file.path)
        .map_err(|error| Error::io("cannot read", &file.path, &error))?;
    let copied = digest::copy(&mut progress.reader(from), to);
    match copied.map_err(|error| progress.or_cancelled(failed(error)))? == file.sha256 {
        true => Ok(()),
        false => Err(source::changed(name)),
    }
}

/// Computes the CRC-32 of what is written.
struct Checked<W> {
    to: W,
    crc: crc32fast::Hasher,
}

impl<W> Checked<W> {
    fn new(to: W) -> Self {
        Self { to, crc: crc32fast::Hasher::new() }
    }
}

impl<W: Write> Write for Checked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.crc.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// The zip so far.
struct ZipOutput<'a> {
    file: File,
    path: &'a Path,
    /// With the bytes that wait.
    at: u64,
    /// Bytes that are not written yet.
    waiting: Vec<u8>,
    records: Vec<EntryRecord>,
}

impl ZipOutput<'_> {
    fn put(&mut self, mut record: EntryRecord, bytes: &[u8]) -> Result<()> {
        record.offset = self.at;
        self.write_all(bytes).map_err(|error| failed(self.path, &error))?;
        self.records.push(record);
        Ok(())
    }

    /// Compresses a file while it is read, and writes its sizes into the header at the end.
    fn put_large(&mut self, name: &str, file: &SourceFile, progress: &Progress) -> Result<()> {
        let path = self.path;
        let failed = |error: io::Error| failed(path, &error);
        let mut record = entry(name, file);
        record.offset = self.at;
        self.write_all(&record.local()).map_err(failed)?;
        let start = self.at;
        record.crc = self.append(name, file, progress)?;
        record.compressed = self.at - start;
        self.flush().map_err(failed)?;
        self.file.write_all_at(&record.local(), record.offset).map_err(failed)?;
        self.records.push(record);
        Ok(())
    }

    /// Appends the data of a file. Returns the CRC-32 of its content.
    fn append(&mut self, name: &str, file: &SourceFile, progress: &Progress) -> Result<u32> {
        let path = self.path;
        let failed = |error: io::Error| failed(path, &error);
        let mut to = Checked::new(DeflateEncoder::new(self, Compression::new(LEVEL)));
        copy(name, file, &mut to, progress, failed)?;
        let Checked { to, crc } = to;
        to.finish().map_err(failed)?;
        Ok(crc.finalize())
    }

    /// Writes the directory and the end records.
    fn finish(mut self) -> Result<()> {
        let start = self.at;
        let made_by = EntryMethod::Deflate.version_needed();
        let central = |record: &EntryRecord| record.central_made_by(made_by);
        let directory: Vec<u8> = self.records.iter().flat_map(central).collect();
        let end = end(self.records.len() as u64, directory.len() as u64, start);
        let written = self.write_all(&[directory, end].concat()).and_then(|()| self.flush());
        written.map_err(|error| failed(self.path, &error))
    }
}

impl Write for ZipOutput<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.waiting.len() + bytes.len() > WRITTEN_AT_ONCE {
            self.flush()?;
        }
        if bytes.len() < WRITTEN_AT_ONCE {
            self.waiting.extend(bytes);
        } else {
            self.file.write_all_at(bytes, self.at)?;
        }
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.waiting, self.at - self.waiting.len() as u64)?;
        self.waiting.clear();
        Ok(())
    }
}

/// Returns the end records, with the values of the crate `zip`, which the first versions of cdflow
/// used. A function is far smaller than 4 GiB.
fn end(entries: u64, len: u64, offset: u64) -> Vec<u8> {
    let is_wide = entries > u64::from(u16::MAX);
    let version = EntryMethod::Deflate.version_needed();
    let short_len = if is_wide { u32::MAX } else { len as u32 };
    end_records((entries, len, offset), is_wide.then_some([version; 2]), short_len)
}

fn failed(to: &Path, error: &io::Error) -> Error {
    Error::io("cannot write the Lambda zip", to, error)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter, write::SimpleFileOptions};

    use super::*;

    struct Case {
        folder: tempfile::TempDir,
        files: BTreeMap<String, SourceFile>,
    }

    impl Case {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap(), files: BTreeMap::new() }
        }

        /// With the text of code, which has repetitions near and far.
        fn with_code() -> Self {
            let mut case = Self::new();
            for (name, size) in [
                ("a.py", 200),
                ("b/empty", 0),
                ("b/run.sh", 9_000),
                ("b/grün.py", 70_000),
                ("c.js", 700_000),
                ("whole.so", IN_MEMORY),
                ("z/large.so", IN_MEMORY + 1),
            ] {
                case.add(name, &code(size));
            }
            case.add("random", &noise(300_000));
            case
        }

        fn add(&mut self, name: &str, content: &[u8]) {
            let path = self.folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            let (size, sha256) = (content.len() as u64, Sha256::of(content));
            let executable = name.ends_with(".sh");
            self.files.insert(name.to_owned(), SourceFile { path, executable, size, sha256 });
        }

        fn zip(&self, threads: usize) -> Result<Vec<u8>> {
            let to = self.folder.path().join(format!("{threads}.zip"));
            write_with(threads, &self.files, &to, &Progress::none())?;
            Ok(fs::read(to).unwrap())
        }
    }

    fn noise(size: u64) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..size).map(|_| next()).collect()
    }

    fn code(size: u64) -> Vec<u8> {
        let words = ["import", "return", " = ", "(self)", "\n    ", "value", "_", "if ", "0", "."];
        let text = noise(400_000).into_iter().flat_map(|at| {
            let word = words.get(usize::from(at) % 13).map_or("", |word| *word).bytes();
            word.chain((at % 7 == 0).then_some(at | 0x40))
        });
        let text: Vec<u8> = text.collect();
        let mut text = text.repeat(size as usize / text.len() + 1);
        text.truncate(size as usize);
        text
    }

    #[test]
    fn the_bytes_never_change() {
        let case = Case::with_code();
        let zip = case.zip(2).unwrap();
        // Of libdeflate 1.25, which the crate libdeflater 1.26 contains.
        assert_eq!(
            Sha256::of(&zip).to_string(),
            "0b49bd580c50611a65afa2b0627b4eccc481a1e54a0bdbf0fe2d6f68302dd8a9"
        );
        for threads in [1, 7] {
            assert!(case.zip(threads).unwrap() == zip, "{threads}");
        }
        let mut archive = ZipArchive::new(io::Cursor::new(zip)).unwrap();
        let names: Vec<String> = (0..archive.len())
            .map(|at| archive.by_index(at).unwrap().name().unwrap().into_owned())
            .collect();
        assert!(names.iter().eq(case.files.keys()), "{names:?}");
        for (name, file) in &case.files {
            let mut entry = archive.by_name(name).unwrap();
            assert_eq!(entry.compression(), CompressionMethod::Deflated);
            let mode = if name == "b/run.sh" { 0o100_755 } else { 0o100_644 };
            assert_eq!(entry.unix_mode(), Some(mode), "{name}");
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            assert_eq!(Sha256::of(&content), file.sha256, "{name}");
        }
    }

    #[test]
    fn neither_modes_nor_folders_matter() {
        let zip = |mode| {
            let mut case = Case::new();
            case.add("a.py", b"print(1)\n");
            let path = &case.files["a.py"].path;
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            case.zip(2).unwrap()
        };
        assert_eq!(zip(0o644), zip(0o600));
    }

    #[test]
    fn a_file_that_changed_is_refused() {
        for size in [9, IN_MEMORY + 1] {
            let mut case = Case::new();
            case.add("a.py", &code(size));
            fs::write(&case.files["a.py"].path, "other").unwrap();
            let error = case.zip(2).unwrap_err().to_string();
            assert!(error.contains("`a.py` changed while the release was made"), "{error}");
            fs::remove_file(&case.files["a.py"].path).unwrap();
            fs::remove_file(case.folder.path().join("2.zip")).unwrap();
            let error = case.zip(2).unwrap_err().to_string();
            assert!(error.contains("cannot read") && error.contains("a.py"), "{error}");
        }
    }

    #[test]
    fn the_end_of_many_files() {
        for files in [1, 65_535, 65_536] {
            let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Deflated)
                .last_modified_time(DateTime::default());
            (0..files).for_each(|name| zip.start_file(format!("{name:05}"), options).unwrap());
            let zip = zip.finish().unwrap().into_inner();
            // Each file has 35 bytes in its local header, 2 of data, and 51 in the directory.
            let end = end(files, files * 51, files * 37);
            assert_eq!(zip.len() as u64, files * 88 + end.len() as u64);
            assert!(zip.ends_with(&end), "{files}");
        }
    }
}
