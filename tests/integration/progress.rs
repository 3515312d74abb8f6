//! What is shown of phases that take long: a bar at a terminal, a line every 15 seconds elsewhere.
//! Ctrl-C ends them at once.

use crate::shell::{at_a_terminal, person};
use crate::support::{Fault, Output, Project, Runner, path_without_terraform};
use crate::terraform_versions::Bare;
use nix::sys::signal::Signal;
use std::fs;
use std::time::{Duration, Instant};

/// The end of a phase after Ctrl-C is 300 ms on a quiet machine; others run tests here too.
const AT_ONCE: Duration = Duration::from_secs(6);
/// Longer than any test waits.
const LONG: Duration = Duration::from_secs(100);
const RELEASE: [&str; 3] = ["release", "1", "--no-validate"];
/// What removes a bar.
const CLEAR: &str = "\r\u{1b}[K";

/// What a terminal shows in the end.
fn screen(printed: &str) -> Vec<String> {
    let (mut lines, mut column) = (vec![Vec::new()], 0);
    let mut characters = printed.chars();
    while let Some(character) = characters.next() {
        let line: &mut Vec<char> = lines.last_mut().unwrap();
        match character {
            '\r' => column = 0,
            '\n' => {
                lines.push(Vec::new());
                column = 0;
            }
            '\u{1b}' => {
                let code: String =
                    characters.by_ref().take_while(|it| !it.is_ascii_alphabetic()).collect();
                // The only code without a number is that which clears the rest of the line.
                if code == "[" {
                    line.truncate(column);
                }
            }
            other => {
                line.resize(line.len().max(column + 1), ' ');
                line[column] = other;
                column += 1;
            }
        }
    }
    lines.into_iter().map(|line| line.into_iter().collect()).collect()
}

#[test]
fn a_screen_is_what_is_left() {
    assert_eq!(screen("a\r\nbar 1\r\u{1b}[Kbar 2\r\u{1b}[Kb\r\n"), ["a", "b", ""]);
    assert_eq!(screen("\u{1b}[1mabc\u{1b}[0m\rx"), ["xbc"]);
}

fn slow_init(project: &Project, seconds: &str) -> String {
    project.terraform_but(&format!("init) sleep {seconds};;"))
}

#[test]
fn a_bar_at_a_terminal_leaves_no_trace() {
    let project = Project::local("greeting");
    let slow = slow_init(&project, "2.5");
    // The terminal gets other columns while there is a bar.
    let steps = [("    terraform init: 1s", None), ("    terraform init: 2s", None)];
    let output = at_a_terminal(&project, &RELEASE, &steps).env("PATH", slow).run();
    output.success();
    assert!(output.stdout.contains(&format!("{CLEAR}    terraform init: 2s")), "{output}");
    let shown = screen(&output.stdout);
    assert!(shown.iter().all(|line| !line.contains("terraform init: ")), "{shown:#?}");
    for line in ["==> Bundle", "Released greeting 1"] {
        assert!(shown.iter().any(|it| it == line), "no `{line}` in {shown:#?}");
    }
}

/// The bytes of a download from a mirror that stops in the middle, and Ctrl-C at it.
#[test]
fn a_download_shows_bytes_and_ends_at_ctrl_c() {
    let bare = Bare::new("stalled");
    let server = bare.mirror.serve();
    server.fault(".zip", Fault::Stall(LONG));
    let program = [env!("CARGO_BIN_EXE_cdflow"), "release", "1"];
    let steps = [("    downloading [", Some("\u{3}"))];
    let began = Instant::now();
    let output = person(101, &bare.project, &program, &steps)
        .env("PATH", path_without_terraform(bare.project.sandbox()))
        .env("RUNNER_TOOL_CACHE", bare.project.sandbox().root().join("own-cache"))
        .env("CDFLOW_TERRAFORM_MIRROR", server.address())
        .run();
    output.fails(130).stdout_has("cancelled while downloading; nothing was changed");
    assert!(began.elapsed() < LONG / 4, "{:?}", began.elapsed());
    let bar = output.stdout.split("    downloading [").nth(1).unwrap();
    // The terminal echoes Ctrl-C.
    let bar = bar.split(CLEAR).next().unwrap().trim_end_matches("^C");
    let cells = bar.split(']').next().unwrap();
    assert!(cells.starts_with('#') && cells.ends_with('-') && cells.len() == 24, "{bar}");
    assert!(bar.contains(" of ") && bar.trim_end().ends_with("B/s"), "{bar}");
    let shown = screen(&output.stdout);
    assert!(shown.iter().all(|line| !line.contains("downloading [")), "{shown:#?}");
    bare.project.left_no_trace(&output);
}

/// A file of gigabytes in infra/ is hashed before anything else.
#[test]
fn hashing_ends_at_ctrl_c() {
    let project = Project::local("huge");
    let huge = fs::File::create(project.dir().join("infra/huge.bin")).unwrap();
    huge.set_len(24 << 30).unwrap();
    let steps = [("    hashing the files of the release: ", Some("\u{3}"))];
    let began = Instant::now();
    let output = at_a_terminal(&project, &RELEASE, &steps).run();
    let what = "cancelled while hashing the files of the release; nothing was changed";
    output.fails(130).stdout_has(what);
    assert!(began.elapsed() < AT_ONCE * 2, "{:?}", began.elapsed());
    fs::remove_file(project.dir().join("infra/huge.bin")).unwrap();
    project.left_no_trace(&output);
}

/// It ignores the interrupt, as while it downloads.
#[test]
fn init_is_ended_at_once() {
    let project = Project::local("greeting");
    project.release("1");
    for command in [&RELEASE[..], &["deploy", "live", "1"]] {
        let started = project.sandbox().work().join("started");
        let path = project
            .terraform_but(&format!("init) trap '' INT; touch {}; sleep 90;;", started.display()));
        let arguments: Vec<&str> = command
            .iter()
            .map(|it| if command[0] == "release" && *it == "1" { "2" } else { it })
            .collect();
        let mut running = project.cdflow(arguments).env("PATH", path).spawn();
        running.wait_until("init", |_| started.exists());
        // A signal in the first second is held back from programs that listen.
        let began = Instant::now();
        running.signal(Signal::SIGINT);
        let output = running.wait();
        output.fails(130).stderr_has("cancelled during terraform init; no resource was changed");
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
        project.left_no_trace(&output);
        fs::remove_file(&started).unwrap();
    }
    assert_eq!(project.ledger("live"), [""; 0]);
}

/// A line every 15 seconds, and no bar, wherever the output is kept.
#[test]
fn lines_in_a_ci_and_in_a_file() {
    let project = Project::local("greeting");
    let path = slow_init(&project, "17");
    let plain = |version: &str| project.cdflow(["release", version, "--no-validate"]);
    let at_terminal = |version: &str| {
        at_a_terminal(&project, &["release", version, "--no-validate"], &[]).env("CI", "true")
    };
    let runs: [Runner; 3] =
        [plain("1"), plain("2").env("GITHUB_ACTIONS", "true"), at_terminal("3")];
    let runs = runs.map(|runner| runner.env("PATH", &path).spawn());
    for run in runs {
        let output: Output = run.wait();
        output.success();
        let text = format!("{}{}", output.stdout, output.stderr);
        assert_eq!(text.matches("    terraform init: 15s").count(), 1, "{output}");
        assert_eq!(text.matches("terraform init: ").count(), 1, "{output}");
        assert!(!text.contains(CLEAR), "{output}");
    }
}
