//! Reaps zombies when cdflow is the first process of a container: orphans become its children, and
//! stay zombies until their exit status is read.

use std::{collections::BTreeSet, fs, time::Duration};

use nix::{
    sys::wait::{WaitPidFlag, waitpid},
    unistd::{Pid, getpid},
};

/// cdflow reads the status of its own programs at once; a zombie that is seen twice is an orphan.
const EVERY: Duration = Duration::from_secs(2);

/// Runs as long as the runtime. Does nothing if the container has an init process.
pub(crate) fn start() {
    if getpid() == Pid::from_raw(1) {
        tokio::spawn(async {
            let mut seen = BTreeSet::new();
            loop {
                tokio::time::sleep(EVERY).await;
                let zombies = zombies();
                for orphan in zombies.intersection(&seen) {
                    // It may have been reaped by now.
                    let _ = waitpid(Pid::from_raw(*orphan), Some(WaitPidFlag::WNOHANG));
                }
                seen = zombies;
            }
        });
    }
}

/// Among our children.
fn zombies() -> BTreeSet<i32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|id| {
        fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| is_our_zombie(&stat))
    })
    .collect()
}

/// `17 (a name) Z 1 …`: after the name, which may hold anything, state and parent.
fn is_our_zombie(stat: &str) -> bool {
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with("Z 1 "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_processes_are_asked() {
        assert!(is_our_zombie("17 (sh) Z 1 17 17 0 -1 4228108 0"));
        assert!(is_our_zombie("17 (a) S 1 b) Z 1 17"));
        assert!(
            !is_our_zombie("17 (sh) S 1 17")
                && !is_our_zombie("17 (sh) Z 12 17")
                && !is_our_zombie("")
        );
    }
}
