//! The artifact of a Lambda function: its zip, and what the release records about it.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::lambda_zip;
use crate::{
    base::{
        digest::Sha256,
        error::{Error, Result},
        units::bytes_text,
    },
    config::scheme::Storage,
    release::source::Sources,
    services::ci::host::Host,
};

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
    let path = to.join("function.zip");
    lambda_zip::write(&sources.artifact, &path, &progress)?;
    let failed = |error: io::Error| Error::io("cannot read", &path, &error);
    let size = fs::metadata(&path).map_err(failed)?.len();
    let sha256 = Sha256::of_file(&path).map_err(failed)?;
    let zip = LambdaZip { path, sha256, size };
    host.log.note(&format!(
        "{} files, {}, SHA-256 {}",
        sources.artifact.len(),
        bytes_text(zip.size),
        zip.sha256
    ));
    Ok(zip)
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
    use super::*;

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
