//! Compresses and decompresses one entry or one block at a time.

use std::io::{self, BufRead, Read};

use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::{CompressionLvl, Compressor};

use super::record::{BLOCK, EntryMethod};
use crate::base::error::{Error, Result};

const ZSTD_LEVEL: i32 = 3;
/// Measured with source code: twice as fast as level 6 of zlib-rs, and 3 % larger.
const DEFLATE_LEVEL: i32 = 4;
/// The largest zstd window that is decoded, 8 MiB, which limits the memory for a hostile frame.
const WINDOW_LOG: u32 = 23;
const CHUNK: usize = 128 << 10;

/// Deflates small files. One per thread, because its state is larger than most files.
pub(crate) struct Deflater(Compressor);

impl Deflater {
    pub(crate) fn new() -> Result<Self> {
        let level = CompressionLvl::new(DEFLATE_LEVEL)
            .map_err(|error| Error::internal("cannot set up deflate").why(format!("{error:?}")))?;
        Ok(Self(Compressor::new(level)))
    }

    /// Appends `data` to `to` and returns the method: stored if deflate does not make it smaller.
    pub(crate) fn append(&mut self, data: &[u8], to: &mut Vec<u8>) -> Result<EntryMethod> {
        let start = to.len();
        if self.deflate(data, to)? < data.len() {
            return Ok(EntryMethod::Deflate);
        }
        to.truncate(start);
        to.extend(data);
        Ok(EntryMethod::Stored)
    }

    /// Appends the deflated `data` to `to` and returns its length.
    pub(crate) fn deflate(&mut self, data: &[u8], to: &mut Vec<u8>) -> Result<usize> {
        let start = to.len();
        to.resize(start + self.0.deflate_compress_bound(data.len()), 0);
        let len = self
            .0
            .deflate_compress(data, &mut to[start..])
            .map_err(|error| Error::internal("deflate did not end").why(error))?;
        to.truncate(start + len);
        Ok(len)
    }
}

/// Compresses each block of a segment into its own zstd frame.
pub(crate) struct BlockWriter(zstd::bulk::Compressor<'static>);

impl BlockWriter {
    pub(crate) fn new() -> Result<Self> {
        zstd::bulk::Compressor::new(ZSTD_LEVEL)
            .map(Self)
            .map_err(|error| Error::internal("cannot set up zstd").why(error))
    }

    pub(crate) fn compress(&mut self, block: &[u8]) -> Result<Vec<u8>> {
        self.0
            .compress(block)
            .map_err(|error| Error::internal("zstd failed to compress").why(error))
    }
}

/// Decodes blocks of segments.
pub(crate) struct BlockReader {
    zstd: zstd::bulk::Decompressor<'static>,
    input: Vec<u8>,
}

impl BlockReader {
    pub(crate) fn new() -> Result<Self> {
        let zstd = zstd::bulk::Decompressor::new()
            .map_err(|error| Error::internal("cannot set up zstd").why(error))?;
        Ok(Self { zstd, input: Vec::new() })
    }

    /// Decodes one block. `read` fills a buffer of `compressed` bytes. Fails if the block does not
    /// decode to `size` bytes.
    pub(crate) fn decode(
        &mut self,
        compressed: usize,
        size: usize,
        read: impl FnOnce(&mut [u8]) -> io::Result<()>,
    ) -> io::Result<Vec<u8>> {
        self.input.resize(compressed, 0);
        read(&mut self.input)?;
        let block = self.zstd.decompress(&self.input, size.min(BLOCK as usize))?;
        if block.len() == size { Ok(block) } else { Err(invalid("a block is too short")) }
    }
}

/// Decodes entries of any method as streams. One per thread.
pub(crate) struct Decoder {
    inflate: Decompress,
    chunk: Vec<u8>,
}

/// Why decoding failed: bad data, or an error of the sink.
pub(crate) enum CodecError {
    Data(io::Error),
    Sink(Error),
}

impl From<io::Error> for CodecError {
    fn from(error: io::Error) -> Self {
        Self::Data(error)
    }
}

type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<()>;

impl Decoder {
    pub(crate) fn new() -> Self {
        Self { inflate: Decompress::new(false), chunk: vec![0; CHUNK] }
    }

    /// Decodes all of `source`, which must contain exactly the data of the entry.
    pub(crate) fn decode(
        &mut self,
        method: EntryMethod,
        source: impl BufRead,
        sink: Sink<'_>,
    ) -> Result<(), CodecError> {
        match method {
            EntryMethod::Stored => self.copy(source, sink),
            EntryMethod::Deflate => self.inflate(source, sink),
            EntryMethod::Zstd => {
                let mut frames = zstd::stream::read::Decoder::with_buffer(source)?;
                frames.window_log_max(WINDOW_LOG)?;
                self.copy(frames, sink)
            }
        }
    }

    fn copy(&mut self, mut source: impl Read, sink: Sink<'_>) -> Result<(), CodecError> {
        loop {
            match source.read(&mut self.chunk)? {
                0 => return Ok(()),
                n => sink(&self.chunk[..n]).map_err(CodecError::Sink)?,
            }
        }
    }

    fn inflate(&mut self, mut source: impl BufRead, sink: Sink<'_>) -> Result<(), CodecError> {
        self.inflate.reset(false);
        loop {
            let input = source.fill_buf()?;
            let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(input, &mut self.chunk, FlushDecompress::None);
            let status = status.map_err(|error| invalid(&error.to_string()))?;
            let (read, written) =
                (self.inflate.total_in() - read, self.inflate.total_out() - written);
            source.consume(read as usize);
            sink(&self.chunk[..written as usize]).map_err(CodecError::Sink)?;
            match status {
                Status::StreamEnd if source.fill_buf()?.is_empty() => return Ok(()),
                Status::StreamEnd => return Err(invalid("bytes follow the compressed data").into()),
                _ if read == 0 && written == 0 => {
                    return Err(invalid("the compressed data ends early").into());
                }
                _ => {}
            }
        }
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(method: EntryMethod, data: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let mut sink = |bytes: &[u8]| {
            out.extend(bytes);
            Ok(())
        };
        Decoder::new().decode(method, data, &mut sink).ok()?;
        Some(out)
    }

    #[test]
    fn deflate_round_trip() {
        let mut deflater = Deflater::new().unwrap();
        for data in [vec![], vec![b'a'; 300_000], (0..=255).collect()] {
            let mut packed = b"before".to_vec();
            let method = deflater.append(&data, &mut packed).unwrap();
            assert_eq!(method == EntryMethod::Deflate, data.len() > 256);
            assert_eq!(decode(method, &packed[6..]).unwrap(), data);
        }
    }

    #[test]
    fn deflate_damage() {
        let mut packed = Vec::new();
        Deflater::new().unwrap().append(&[b'a'; 1000], &mut packed).unwrap();
        assert!(decode(EntryMethod::Deflate, &packed[..packed.len() - 1]).is_none());
        packed.push(0);
        assert!(decode(EntryMethod::Deflate, &packed).is_none());
    }

    #[test]
    fn blocks_are_plain_zstd() {
        let mut writer = BlockWriter::new().unwrap();
        let frames = [writer.compress(b"one ").unwrap(), writer.compress(b"two").unwrap()];
        assert_eq!(decode(EntryMethod::Zstd, &frames.concat()).unwrap(), b"one two");
        assert!(decode(EntryMethod::Zstd, &frames.concat()[..frames[0].len() + 3]).is_none());
        let mut reader = BlockReader::new().unwrap();
        let mut block = |size| {
            reader.decode(frames[0].len(), size, |to| {
                to.copy_from_slice(&frames[0]);
                Ok(())
            })
        };
        assert_eq!(block(4).unwrap(), b"one ");
        assert!(block(3).is_err());
        assert!(block(5).is_err());
    }
}
