//! The last line of a terminal: a bar, which every other line pushes down.

use std::{
    io::{self, Write},
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::unistd::{getpgrp, tcgetpgrp};
use terminal_size::{Width, terminal_size_of};

/// Returns to the start of the line and clears it.
const CLEAR: &str = "\r\u{1b}[K";

/// The line, which the newest of the phases that run at once has.
#[derive(Default)]
pub(super) struct Bar(Mutex<Shown>);

#[derive(Default)]
pub(super) struct Shown {
    phases: Vec<u64>,
    next: u64,
    is_drawn: bool,
}

impl Bar {
    /// Gives the line to a new phase, and returns its number.
    pub(super) fn begin(&self) -> u64 {
        let mut shown = self.lock();
        shown.next += 1;
        let phase = shown.next;
        shown.phases.push(phase);
        phase
    }

    pub(super) fn end(&self, phase: u64) {
        self.wiped().phases.retain(|other| *other != phase);
    }

    /// Draws the text `of` a width, if there is one and the line belongs to the phase.
    pub(super) fn draw(&self, phase: u64, of: impl FnOnce(usize) -> Option<String>) {
        let mut shown = self.lock();
        if shown.phases.last() != Some(&phase) || is_in_background() {
            return;
        }
        let width = terminal_size_of(io::stderr()).map_or(80, |(Width(width), _)| width);
        let Some(text) = of(width.into()) else { return };
        // A line that fills the last column could be wrapped, and then not be cleared.
        let text: String = text.chars().take(usize::from(width).max(2) - 1).collect();
        let mut out = io::stderr().lock();
        let _ = write!(out, "{CLEAR}{text}").and_then(|()| out.flush());
        shown.is_drawn = true;
    }

    /// Removes the text. Nothing is drawn until the guard is dropped.
    pub(super) fn wiped(&self) -> MutexGuard<'_, Shown> {
        let mut shown = self.lock();
        if std::mem::take(&mut shown.is_drawn) {
            let mut out = io::stderr().lock();
            let _ = write!(out, "{CLEAR}").and_then(|()| out.flush());
        }
        shown
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the terminal belongs to another job, such as the shell.
fn is_in_background() -> bool {
    tcgetpgrp(io::stderr()).is_ok_and(|front| front != getpgrp())
}
