//! The output of a program: a file in memory that the program writes into and cdflow follows.

use std::{fs::File, io, os::unix::fs::FileExt, process::Stdio};

use nix::{
    fcntl::{FallocateFlags, fallocate},
    sys::memfd::{MFdFlags, memfd_create},
};

use crate::base::{
    error::{Error, Result},
    redact::Redactor,
};

/// A trace of Terraform (TF_LOG) can be larger than the memory.
const GIVE_BACK_EVERY: u64 = 1 << 20;
/// A longer line is passed on in pieces, so that memory stays bounded.
const LONGEST_LINE: usize = 1 << 20;

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
///
/// It is in memory: on a full disk, an apply could not print the state that it cannot write either.
pub(super) struct Followed {
    output: File,
    json: Option<JsonLines>,
    offset: u64,
    given_back: u64,
    /// The beginning of a line whose end is not there yet.
    line: Vec<u8>,
    /// The rest of the line is left out.
    is_cut: bool,
}

impl Followed {
    pub(super) fn new(json: Option<JsonLines>) -> Result<Self> {
        let output = memfd_create("output", MFdFlags::MFD_CLOEXEC).map_err(io::Error::from);
        let output = File::from(output.map_err(unfollowed)?);
        Ok(Self { output, json, offset: 0, given_back: 0, line: Vec::new(), is_cut: false })
    }

    /// For the program to write into.
    pub(super) fn as_stream(&self) -> Result<Stdio> {
        self.output.try_clone().map(Stdio::from).map_err(unfollowed)
    }

    /// What has been written since the last time, line by line.
    pub(super) fn pass_on(
        &mut self,
        redactor: &Redactor,
        sink: &mut (dyn FnMut(&str) + Send),
    ) -> io::Result<()> {
        let mut piece = [0; 16 * 1024];
        loop {
            let read = self.output.read_at(&mut piece, self.offset)?;
            if read == 0 {
                self.give_back();
                return Ok(());
            }
            self.offset += read as u64;
            for part in piece[..read].split_inclusive(|byte| *byte == b'\n') {
                self.take(part, redactor, sink);
            }
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

    /// What was passed on needs no room any more.
    fn give_back(&mut self) {
        if self.offset >= self.given_back + GIVE_BACK_EVERY {
            let [from, len] = [self.given_back, self.offset - self.given_back]
                .map(|n| i64::try_from(n).unwrap_or(0));
            let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            let _ = fallocate(&self.output, hole, from, len);
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

pub(super) fn unfollowed(error: io::Error) -> Error {
    Error::internal("cannot follow the output").why(error)
}
