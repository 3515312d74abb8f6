//! A question to the person at the terminal, and the answer.

use std::{
    io::{self, IsTerminal, Read},
    thread,
    time::Instant,
};

use nix::{
    sys::termios::{FlushArg, tcflush},
    unistd::{getpgrp, tcgetpgrp},
};
use tokio::sync::oneshot;

use super::{
    error::{Error, Result},
    interrupt::Interrupt,
    limits::Limit,
    log::Log,
};

/// The most bytes of an answer that are read. A terminal delivers at most one line of this length.
const LONGEST: usize = 4096;

/// Whether a person can answer: standard input and standard error are terminals.
pub(crate) fn can_be_answered() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks, and returns true if the answer is `y` or `yes`. Any other answer and the end of the input
/// are a no. Fails with `Exit::Refused` if there is no answer in time.
pub(crate) async fn ask(question: &str, log: &Log, interrupt: &Interrupt) -> Result<bool> {
    // The system would stop cdflow, as it stops a job in the background that reads.
    if tcgetpgrp(io::stdin()).is_ok_and(|front| front != getpgrp()) {
        return Err(Error::refused(format!("cannot ask `{question}`"))
            .why("cdflow runs in the background of the terminal; nothing was changed")
            .hint("run it in the foreground, such as with `timeout --foreground`")
            .hint("or apply without a question: --yes"));
    }
    // What was typed before the question was shown cannot be its answer.
    let _ = tcflush(io::stdin(), FlushArg::TCIFLUSH);
    log.question(&format!("{question} [y/N] "));
    let answered = async {
        match tokio::time::timeout(Limit::Question.time(), line()).await {
            Ok(line) => line,
            Err(_) => Err(Error::refused(Limit::Question.passed("the question was not answered"))),
        }
    };
    let began = Instant::now();
    let line = interrupt.or_cancel("waiting for an answer", answered).await;
    log.add_time_asked(began.elapsed());
    let line = line?;
    // The terminal has echoed the end of the line.
    log.answered(line.ends_with('\n'));
    Ok(is_yes(&line))
}

fn is_yes(line: &str) -> bool {
    matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// Returns one line of standard input; empty at its end.
///
/// Nothing waits for the thread: only a key ends its read, and the end of cdflow must not need one.
async fn line() -> Result<String> {
    let failed =
        |error: io::Error| Error::input("cannot read the answer from the terminal").why(error);
    let (give, take) = oneshot::channel();
    let read = move || {
        let mut bytes = [0; LONGEST];
        let count = io::stdin().lock().read(&mut bytes);
        // Without a receiver, the run was cancelled.
        let _ = give.send(count.map(|count| bytes.get(..count).unwrap_or_default().to_vec()));
    };
    thread::Builder::new().spawn(read).map_err(failed)?;
    let bytes = take.await.unwrap_or_else(|_| Ok(Vec::new())).map_err(failed)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_a_yes() {
        for (line, yes) in [
            ("y\n", true),
            (" Yes \r\n", true),
            ("", false),
            ("\n", false),
            ("n\n", false),
            ("yy\n", false),
            ("yes please\n", false),
            ("live\n", false),
        ] {
            assert_eq!(is_yes(line), yes, "{line:?}");
        }
    }
}
