//! Looks at running processes through /proc: what a program was started with, and what it started.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs;

/// A process as it was seen.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: BTreeMap<String, String>,
}

impl Process {
    /// None when it has ended meanwhile.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let strings = |file: &str| {
            let bytes = fs::read(format!("/proc/{pid}/{file}")).ok()?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            Some(text.split_terminator('\0').map(str::to_owned).collect::<Vec<_>>())
        };
        // A child that becomes another program between two reads has the arguments of that program
        // and the environment of its parent.
        let (arguments, environment) = loop {
            let (before, environment) = (strings("cmdline")?, strings("environ")?);
            if strings("cmdline")? == before {
                break (before, environment);
            }
        };
        let variables = environment.iter().filter_map(|entry| entry.split_once('='));
        let environment =
            variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Some(Self { pid, arguments, environment })
    }

    /// The file name of the program: `terraform`.
    pub(crate) fn program(&self) -> &str {
        self.arguments.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default()
    }
}

/// Every process below this one, parents before children. Zombies are left out.
pub(crate) fn descendants(pid: i32) -> Vec<i32> {
    let parents: Vec<(i32, i32)> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|child| Some((child, parent_of(child)?)))
        .collect();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| child));
        next += 1;
    }
    found.remove(0);
    found
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let (state, parent) = (fields.next()?, fields.next()?);
    if state == "Z" { None } else { parent.parse().ok() }
}

/// Ends a program that the tests started, and all that it started.
pub(super) fn kill_tree(pid: i32) {
    for process in std::iter::once(pid).chain(descendants(pid)) {
        // One that has ended by itself is as good.
        let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
    }
}
