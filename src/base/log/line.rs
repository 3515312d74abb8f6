//! One line of output, and the output that was lost.

use std::{
    io::{self, Write},
    sync::{Arc, OnceLock},
};

use crate::base::error::Error;

/// Ignores errors: a full disk or a closed pipe must not stop an apply.
pub(super) fn write_line(out: &mut impl Write, line: &str) {
    let _ = try_write_line(out, line);
}

pub(super) fn try_write_line(out: &mut impl Write, line: &str) -> io::Result<()> {
    writeln!(out, "{line}")?;
    out.flush()
}

/// The first error of standard output, kept for the end of the run.
#[derive(Clone, Default)]
pub(super) struct LostOutput(Arc<OnceLock<String>>);

impl LostOutput {
    pub(super) fn keep(&self, written: io::Result<()>) {
        if let Some(error) = written.err().filter(is_loss) {
            let _ = self.0.set(error.to_string());
        }
    }

    pub(super) fn error(&self) -> Option<Error> {
        self.0.get().map(|why| lost(why))
    }
}

/// The reader of a pipe may stop early (`| head`).
fn is_loss(error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::BrokenPipe
}

/// Returns the error for a text that was not written to standard output. None if it was written, or
/// if the reader did not want it.
pub(crate) fn unwritten(written: io::Result<()>) -> Option<Error> {
    written.err().filter(is_loss).map(|error| lost(&error.to_string()))
}

fn lost(why: &str) -> Error {
    Error::input("cannot write to standard output, so output is missing")
        .why(why)
        .hint("check the file or disk that standard output is redirected to, and run again")
}
