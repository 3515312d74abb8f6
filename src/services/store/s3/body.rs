//! The bytes of an upload: in memory or in a file, read in pieces, with the checksums that S3
//! compares.

use std::{fs::File, os::unix::fs::FileExt, path::PathBuf, sync::Arc};

use aws_sdk_s3::primitives::{ByteStream, Length};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

use crate::{
    base::{
        blocking::blocking,
        crc64::{Crc64, Crc64Hasher},
        error::{Error, Result, chain},
    },
    services::store::Content,
};

/// Bytes of a file that are in memory at once, per part.
const STEP: u64 = 256 << 10;

/// The source of an upload. Cheap to clone.
#[derive(Clone)]
pub(crate) enum UploadBody {
    Memory(Bytes),
    File { file: Arc<File>, path: PathBuf, size: u64 },
}

impl UploadBody {
    pub(crate) async fn of(content: Content<'_>) -> Result<Self> {
        match content {
            Content::Bytes(bytes) => Ok(Self::Memory(bytes.into())),
            Content::File(path) => {
                let path = path.to_owned();
                blocking(move || {
                    let failed = |error: std::io::Error| Error::io("can't read", &path, &error);
                    let file = File::open(&path).map_err(failed)?;
                    let size = file.metadata().map_err(failed)?.len();
                    Ok(Self::File { file: Arc::new(file), path, size })
                })
                .await
            }
        }
    }

    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { size, .. } => *size,
        }
    }

    pub(crate) async fn all(&self) -> Result<Bytes> {
        self.part(0, self.size()).await
    }

    pub(crate) async fn part(&self, start: u64, len: u64) -> Result<Bytes> {
        let source = self.clone();
        blocking(move || source.read(start, len)).await
    }

    /// Blocks.
    fn read(&self, start: u64, len: u64) -> Result<Bytes> {
        match self {
            Self::Memory(bytes) => Ok(bytes.slice(index(start)..index(start + len))),
            Self::File { file, path, .. } => {
                let mut buffer = vec![0; index(len)];
                file.read_exact_at(&mut buffer, start)
                    .map_err(|error| Error::io("can't read", path, &error))?;
                Ok(buffer.into())
            }
        }
    }

    /// Blocks.
    pub(crate) fn crc(&self, start: u64, len: u64) -> Result<Crc64> {
        let (mut sum, mut at) = (Crc64Hasher::default(), start);
        while at < start + len {
            let step = STEP.min(start + len - at);
            sum.update(&self.read(at, step)?);
            at += step;
        }
        Ok(sum.finish())
    }

    /// Reads a file a second time, from the page cache, as it is sent. So a part needs a few
    /// hundred KiB of memory instead of two copies of itself (TLS makes one). S3 rejects a file
    /// that has changed, by its checksum.
    pub(crate) async fn stream(&self, start: u64, len: u64) -> Result<ByteStream> {
        match self {
            Self::Memory(bytes) => {
                Ok(ByteStream::from(bytes.slice(index(start)..index(start + len))))
            }
            Self::File { path, .. } => {
                let part =
                    ByteStream::read_from().path(path).offset(start).length(Length::Exact(len));
                let part = part.buffer_size(index(STEP)).build().await;
                part.map_err(|error| {
                    Error::input(format!("can't read `{}`", path.display())).why(chain(&error))
                })
            }
        }
    }
}

/// Returns the checksum as S3's headers spell it.
pub(crate) fn base64_crc(crc: u64) -> String {
    STANDARD.encode(crc.to_be_bytes())
}

/// Sizes of parts fit into `usize`.
fn index(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
