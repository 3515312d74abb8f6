//! A release store on a disk without space: the advice is about the store, not about TMPDIR.

use crate::support::{Output, Project, with_own_mounts};

/// The folder of the releases and the ledger, or that of the states.
fn folder(project: &Project, name: &str) -> String {
    project.store().join(name).display().to_string()
}

/// Runs `script` with `root` as a file system of this many KiB. `$0` is cdflow.
fn with_disk_of(kib: u32, project: &Project, root: &str, script: &str) -> Output {
    let script = format!(
        "mkdir -p {root} && mount -t tmpfs -o size={kib}k none {root} || exit 99; {script}"
    );
    with_own_mounts(project, &script).arg(env!("CARGO_BIN_EXE_cdflow")).run()
}

/// Text that no bundle makes smaller than `kib` KiB.
fn noise(kib: usize) -> String {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b"0123456789abcdef"[(state >> 60) as usize])
    };
    (0..2 * kib * 1024).map(|_| next()).collect()
}

const ADVICE: &str = "\n  -> free space in the release store, for example with `cdflow prune`\n";

#[test]
fn a_release_names_the_store_that_is_full() {
    let project = Project::local("greeting");
    project.write("infra/noise.txt", &noise(300)).commit("Noise");
    let releases = folder(&project, "releases");
    let left = format!("find {releases} -type f; exit $code");
    let release = "\"$0\" release 1 --platform-config platform-config; code=$?";
    let output = with_disk_of(128, &project, &releases, &format!("{release}; {left}"));
    let key = project.release_key("1");
    output
        .fails(2)
        .stderr_has(&format!("/store/releases/{key}`: No space left on device"))
        .stderr_has(ADVICE)
        .lacks("TMPDIR");
    assert!(!output.stdout.contains("greeting-1.zip"), "{output}");
    // Nothing was published, so with enough space the same release is made.
    project.release("1");
}

#[test]
fn a_deploy_names_the_store_or_the_state_that_is_full() {
    let project = Project::local("greeting");
    let releases = folder(&project, "releases");
    let script = format!(
        "\"$0\" release 1 --platform-config platform-config || exit 98; \
         cat /dev/zero >{releases}/fill 2>/dev/null; \"$0\" deploy live 1"
    );
    let output = with_disk_of(1024, &project, &releases, &script);
    output.fails(10).stderr_has("No space left on device").stderr_has(ADVICE).lacks("TMPDIR");
    output
        .stderr_has("failed to write the ledger of `live`, so nothing was applied: can't write `");

    project.release("1");
    let states = folder(&project, "state");
    let script = format!("cat /dev/zero >{states}/fill 2>/dev/null; \"$0\" deploy live 1");
    with_disk_of(64, &project, &states, &script)
        .fails(2)
        .stderr_has("error: the disk of the state is full (`live`): ")
        .stderr_has("\n  -> free some space on the disk of the state\n")
        .lacks("TMPDIR");
}
