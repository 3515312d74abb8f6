//! The output of a program, followed while the program runs.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, PipeReader, PipeWriter, Read},
    os::unix::fs::{FileExt, fchown},
    path::Path,
    process::Stdio,
};

use nix::{
    fcntl::{FallocateFlags, FcntlArg, OFlag, SealFlag, fallocate, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};

use crate::base::{
    error::{Error, Result},
    redact::Redactor,
    run_as::RunAs,
};

/// A trace of Terraform (TF_LOG) can be as large as the disk.
const GIVE_BACK_EVERY: u64 = 1 << 20;
/// In bytes. Between two turns, signals and limits are looked at.
const TURN: usize = 4 << 20;
/// A longer line is passed on in pieces, so that memory stays bounded.
const LONGEST_LINE: usize = 1 << 20;

/// Where a program writes its output.
#[derive(Clone, Copy)]
pub(crate) enum Output {
    /// For scripts, which open `/dev/stderr` again. They end with cdflow.
    Pipe,
    /// A file that has no name, in TMPDIR. The program can go on without cdflow.
    Disk,
    /// For an apply: on a full disk, it could not print the state that it cannot write either.
    Memory(JsonLines),
}

/// Lines of JSON among the output. A piece of one cannot be parsed, so only the beginning of a line
/// that is too long is passed on.
#[derive(Clone, Copy)]
pub(crate) struct JsonLines {
    /// What each begins with.
    pub(crate) beginning: &'static str,
    /// What those begin with that may have up to `longest` bytes.
    pub(crate) long_beginning: &'static str,
    pub(crate) longest: usize,
}

/// The output of a program, and how far it has been passed on.
pub(super) struct Followed {
    source: Source,
    json: Option<JsonLines>,
    offset: u64,
    given_back: u64,
    /// The beginning of a line whose end is not there yet.
    line: Vec<u8>,
    /// The rest of the line is left out.
    is_cut: bool,
}

enum Source {
    File(File),
    Pipe(PipeReader, PipeWriter),
}

impl Followed {
    /// `folder` is for a file.
    pub(super) fn new(output: Output, run_as: RunAs, folder: Option<&OsStr>) -> Result<Self> {
        let source = match output {
            Output::Pipe => pipe(run_as),
            Output::Disk => disk(folder),
            Output::Memory(_) => memory().or_else(|_| disk(folder)),
        };
        let json = match output {
            Output::Memory(json) => Some(json),
            Output::Pipe | Output::Disk => None,
        };
        let (source, line) = (source.map_err(unfollowed)?, Vec::new());
        Ok(Self { source, json, offset: 0, given_back: 0, line, is_cut: false })
    }

    /// For the program to write into.
    pub(super) fn as_stream(&self) -> Result<Stdio> {
        let stream = match &self.source {
            Source::File(file) => file.try_clone().map(Stdio::from),
            Source::Pipe(_, writer) => writer.try_clone().map(Stdio::from),
        };
        stream.map_err(unfollowed)
    }

    /// Passes on what has been written since the last time, line by line. Returns whether there
    /// might be more, after a turn.
    pub(super) fn pass_on(
        &mut self,
        redactor: &Redactor,
        sink: &mut (dyn FnMut(&str) + Send),
    ) -> io::Result<bool> {
        let mut piece = [0; 16 * 1024];
        let mut passed = 0;
        while passed < TURN {
            let read = self.read(&mut piece)?;
            if read == 0 {
                return Ok(false);
            }
            self.offset += read as u64;
            passed += read;
            for part in piece[..read].split_inclusive(|byte| *byte == b'\n') {
                self.take(part, redactor, sink);
            }
            self.give_back();
        }
        Ok(true)
    }

    /// Returns 0 if there is nothing now.
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        match &mut self.source {
            Source::File(file) => file.read_at(piece, self.offset),
            Source::Pipe(reader, _) => match reader.read(piece) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                read => read,
            },
        }
    }

    fn take(&mut self, part: &[u8], redactor: &Redactor, sink: &mut (dyn FnMut(&str) + Send)) {
        let is_end = part.ends_with(b"\n");
        if self.is_cut {
            self.is_cut = !is_end;
            return;
        }
        self.line.extend_from_slice(part);
        let begins_with = |text: &str| self.line.starts_with(text.as_bytes());
        let json = self.json.filter(|it| begins_with(it.beginning));
        let longest = match json {
            Some(it) if begins_with(it.long_beginning) => it.longest,
            _ => LONGEST_LINE,
        };
        if is_end {
            self.pass_rest(sink);
        } else if self.line.len() >= longest {
            match json {
                Some(_) => {
                    self.pass_rest(sink);
                    self.is_cut = true;
                }
                None => self.pass_beginning(redactor, sink),
            }
        }
    }

    /// What was passed on needs no room any more; where the file system can't give it back, it
    /// stays.
    fn give_back(&mut self) {
        let Source::File(file) = &self.source else { return };
        if self.offset >= self.given_back + GIVE_BACK_EVERY {
            let [from, len] = [self.given_back, self.offset - self.given_back]
                .map(|n| i64::try_from(n).unwrap_or(0));
            let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            let _ = fallocate(file, hole, from, len);
            self.given_back = self.offset;
        }
    }

    /// Passes on as much of a line without an end as can't be the beginning of a secret.
    fn pass_beginning(&mut self, redactor: &Redactor, sink: &mut (dyn FnMut(&str) + Send)) {
        let text = String::from_utf8_lossy(&self.line).into_owned();
        let (passed, kept) = text.split_at(redactor.safe_cut(&text));
        sink(passed);
        self.line = kept.as_bytes().to_vec();
    }

    pub(super) fn pass_rest(&mut self, sink: &mut (dyn FnMut(&str) + Send)) {
        if !self.line.is_empty() {
            let text = String::from_utf8_lossy(&self.line);
            sink(text.trim_end_matches(['\n', '\r']));
            self.line.clear();
        }
    }
}

fn pipe(run_as: RunAs) -> io::Result<Source> {
    let (reader, writer) = io::pipe()?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    if let RunAs::User { id, group } = run_as {
        // Or the program could not open it again.
        fchown(&writer, Some(id), Some(group))?;
    }
    Ok(Source::Pipe(reader, writer))
}

fn disk(folder: Option<&OsStr>) -> io::Result<Source> {
    tempfile::tempfile_in(folder.map_or_else(|| Path::new("/tmp"), Path::new)).map(Source::File)
}

/// What is written stays, and in the order in which it is written, whatever a program does that
/// Terraform starts.
fn memory() -> io::Result<Source> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let file = File::from(memfd_create("output", flags)?);
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK))?;
    Ok(Source::File(file))
}

pub(super) fn unfollowed(error: io::Error) -> Error {
    Error::internal("cannot follow the output").why(error)
}
