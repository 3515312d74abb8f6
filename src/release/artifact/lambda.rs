//! The zip for AWS Lambda. The same files give the same bytes on every machine.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Cursor},
    path::{Path, PathBuf},
};

use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter, write::SimpleFileOptions};

use crate::{
    base::{
        digest,
        digest::Sha256,
        error::{Error, Result},
        log::Progress,
        parallel::{Item, in_order, threads},
        small_file,
        units::bytes_text,
    },
    config::scheme::Storage,
    release::{
        source,
        source::{SourceFile, Sources},
    },
    services::ci::host::Host,
};

/// In bytes. Larger files are compressed while they are read instead of in memory.
const IN_MEMORY: u64 = 4 << 20;

/// The bucket's name in `var.release` if the account scheme is local.
pub(crate) const LOCAL: &str = "file:";

/// A zip on disk. `size` is in bytes.
#[derive(Debug)]
pub(crate) struct LambdaZip {
    pub(crate) path: PathBuf,
    pub(crate) sha256: Sha256,
    pub(crate) size: u64,
}

/// Builds `function.zip` in the folder `to`.
pub(crate) fn build(sources: &Sources, to: &Path, host: &Host) -> Result<LambdaZip> {
    host.log.step("Build the Lambda zip");
    let size: u64 = sources.artifact.values().map(|file| file.size).sum();
    let progress = host.progress("packing the function", size);
    let zip = write(&sources.artifact, &to.join("function.zip"), &progress)?;
    host.log.note(&format!(
        "{} files, {}, SHA-256 {}",
        sources.artifact.len(),
        bytes_text(zip.size),
        zip.sha256
    ));
    Ok(zip)
}

/// Writes a zip with sorted entries, a fixed time and the modes 0644 or 0755.
fn write(
    files: &BTreeMap<String, SourceFile>,
    to: &Path,
    progress: &Progress,
) -> Result<LambdaZip> {
    let failed = |error: io::Error| Error::io("cannot write the Lambda zip", to, &error);
    let file = File::create_new(to).map_err(failed)?;
    let mut zip = ZipWriter::new(io::BufWriter::new(file));
    let items = files.iter().map(|(name, file)| Ok(Item { item: (name, file), cost: cost(file) }));
    in_order(
        threads(),
        items,
        || Ok(()),
        |(), (name, file)| pack(name, file, progress),
        |packed| match packed {
            PackedFile::Compressed(entry) => put(&mut zip, entry).map_err(failed),
            PackedFile::TooLarge(name, file) => compress(&mut zip, name, file, progress, failed),
        },
    )?;
    let file = zip
        .finish()
        .map_err(|error| failed(error.into()))?
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    let size = file.metadata().map_err(failed)?.len();
    Ok(LambdaZip { path: to.to_owned(), sha256: Sha256::of_file(to).map_err(failed)?, size })
}

/// A file that is ready to be added to the zip.
enum PackedFile<'f> {
    /// A zip that contains only this file.
    Compressed(Vec<u8>),
    TooLarge(&'f str, &'f SourceFile),
}

/// Returns the memory that a file needs, in bytes: its content, plain and compressed.
fn cost(file: &SourceFile) -> usize {
    if file.size > IN_MEMORY { 0 } else { 2 * file.size as usize + 4096 }
}

fn pack<'f>(name: &'f str, file: &'f SourceFile, progress: &Progress) -> Result<PackedFile<'f>> {
    if file.size > IN_MEMORY {
        return Ok(PackedFile::TooLarge(name, file));
    }
    let content = small_file::read(&file.path)
        .map_err(|error| Error::io("cannot read", &file.path, &error))?;
    progress.step(content.len() as u64)?;
    if Sha256::of(&content) != file.sha256 {
        return Err(source::changed(name));
    }
    let packed = (|| {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file(name, options(file))?;
        io::Write::write_all(&mut zip, &content)?;
        Ok(zip.finish()?.into_inner())
    })();
    packed.map(PackedFile::Compressed).map_err(|error: zip::result::ZipError| {
        Error::io("cannot compress", &file.path, &error.into())
    })
}

fn put(zip: &mut ZipWriter<io::BufWriter<File>>, entry: Vec<u8>) -> io::Result<()> {
    let mut entry = ZipArchive::new(Cursor::new(entry))?;
    Ok(zip.raw_copy_file(entry.by_index_raw(0)?)?)
}

fn compress(
    zip: &mut ZipWriter<io::BufWriter<File>>,
    name: &str,
    file: &SourceFile,
    progress: &Progress,
    failed: impl Fn(io::Error) -> Error,
) -> Result<()> {
    zip.start_file(name, options(file)).map_err(|error| failed(error.into()))?;
    let from = small_file::open(&file.path)
        .map_err(|error| Error::io("cannot read", &file.path, &error))?;
    let copied = digest::copy(&mut progress.reader(from), zip);
    match copied.map_err(|error| progress.or_cancelled(failed(error)))? == file.sha256 {
        true => Ok(()),
        false => Err(source::changed(name)),
    }
}

fn options(file: &SourceFile) -> SimpleFileOptions {
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
        .unix_permissions(if file.executable { 0o755 } else { 0o644 })
}

/// Returns the keys of `var.release`. Their names are those of the reference program.
pub(crate) fn metadata(
    zip: &LambdaZip,
    key: &str,
    places: &BTreeMap<String, Storage>,
    multi_region: bool,
) -> BTreeMap<String, String> {
    let mut data = BTreeMap::from([
        ("s3_key".to_owned(), key.to_owned()),
        ("source_code_hash".to_owned(), zip.sha256.base64()),
    ]);
    if multi_region {
        let regions: Vec<&str> = places.keys().map(String::as_str).collect();
        data.insert("s3_bucket_regions_csv".to_owned(), regions.join(","));
        data.extend(
            places
                .iter()
                .map(|(region, place)| (format!("s3_bucket.{region}"), bucket_name(place))),
        );
    } else if let Some(place) = places.values().next() {
        data.insert("s3_bucket".to_owned(), bucket_name(place));
    }
    data
}

/// Returns the bucket's name. The path of a local folder differs from machine to machine, so it is
/// not part of a release.
fn bucket_name(place: &Storage) -> String {
    match place {
        Storage::Bucket(name) => name.clone(),
        Storage::Directory(_) => LOCAL.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_same_files_give_the_same_bytes() {
        use std::os::unix::fs::PermissionsExt;
        let zip = |mode: u32| {
            let folder = tempfile::tempdir().unwrap();
            let mut files = BTreeMap::new();
            let large = "large ".repeat(1 << 20);
            for (name, text) in
                [("b/run.sh", "#!/bin/sh\n"), ("a.py", "print(1)\n"), ("b/large", large.as_str())]
            {
                let path = folder.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, text).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
                let sha256 = Sha256::of(text.as_bytes());
                files.insert(
                    name.to_owned(),
                    SourceFile {
                        path,
                        executable: name.ends_with("sh"),
                        size: text.len() as u64,
                        sha256,
                    },
                );
            }
            let zip = write(&files, &folder.path().join("out.zip"), &Progress::none()).unwrap();
            (zip.sha256, fs::read(zip.path).unwrap())
        };
        let (first, second) = (zip(0o644), zip(0o600));
        assert_eq!(first, second);
        let mut archive = zip::ZipArchive::new(io::Cursor::new(first.1)).unwrap();
        let names: Vec<String> = (0..archive.len())
            .map(|at| archive.by_index(at).unwrap().name().unwrap().into_owned())
            .collect();
        assert_eq!(names, ["a.py", "b/large", "b/run.sh"]);
        let mut large = Vec::new();
        io::Read::read_to_end(&mut archive.by_name("b/large").unwrap(), &mut large).unwrap();
        assert!(large.len() as u64 > IN_MEMORY && large.ends_with(b"large large "));
        assert_eq!(archive.by_name("b/run.sh").unwrap().unix_mode(), Some(0o100755));
        assert_eq!(archive.by_name("a.py").unwrap().compression(), CompressionMethod::Deflated);
    }

    #[test]
    fn metadata_for_one_and_many_regions() {
        let zip = LambdaZip { path: "z".into(), sha256: Sha256::of(b"abc"), size: 3 };
        let bucket = |name: &str| Storage::Bucket(name.to_owned());
        let one =
            metadata(&zip, "k", &BTreeMap::from([("eu-west-1".to_owned(), bucket("b"))]), false);
        assert_eq!((one["s3_bucket"].as_str(), one["s3_key"].as_str()), ("b", "k"));
        assert_eq!(one["source_code_hash"], "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
        let places = BTreeMap::from([
            ("us-east-1".to_owned(), bucket("u")),
            ("eu-west-1".to_owned(), bucket("e")),
        ]);
        let many = metadata(&zip, "k", &places, true);
        assert_eq!(many["s3_bucket_regions_csv"], "eu-west-1,us-east-1");
        assert_eq!(
            (many["s3_bucket.us-east-1"].as_str(), many.contains_key("s3_bucket")),
            ("u", false)
        );
    }
}
