//! A Python program beside the tests, one for all of them: a JSON request a line, and a JSON answer
//! a line.

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

/// It ends when the pipe to it closes, that is with this process, however this process ends.
pub(super) struct Helper {
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    process: Child,
    /// Its first answer.
    pub(super) ready: Value,
}

impl Helper {
    /// `what` it is, for whoever reads that it did not start.
    pub(super) fn start(what: &str, mut command: Command) -> Self {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut first = String::new();
        stdout.read_line(&mut first).unwrap();
        let mut ready: Value = serde_json::from_str(&first).unwrap_or_else(|_| {
            panic!("{what} did not start (its message is above): run `make test`")
        });
        let pipes = Mutex::new((process.stdin.take().unwrap(), stdout));
        Self { pipes, process, ready: ready["ok"].take() }
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(super) fn ask(&self, request: &Value) -> Result<Value, String> {
        // A test that failed while it asked poisons nothing: requests and answers are whole lines.
        let mut pipes = self.pipes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        writeln!(pipes.0, "{request}").unwrap();
        let mut line = String::new();
        pipes.1.read_line(&mut line).unwrap();
        let mut answer: Value =
            serde_json::from_str(&line).expect("the program has ended (its message is above)");
        match answer.get("error") {
            Some(error) => Err(error.as_str().unwrap().to_owned()),
            None => Ok(answer["ok"].take()),
        }
    }
}
