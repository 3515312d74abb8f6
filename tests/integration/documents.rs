//! The documents match the program: they name every flag, exit code, key, variable and file, and
//! the files that people copy from them load.

use crate::support::{Aws, Project, Runner, Sandbox, cdflow, in_repository};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

const COMMANDS: [&str; 22] = [
    "release",
    "releases",
    "inspect",
    "deploy",
    "destroy",
    "preview",
    "status",
    "history",
    "rollback",
    "shell",
    "prune",
    "unlock",
    "hold",
    "unhold",
    "adopt",
    "comment",
    "unaffected",
    "build",
    "dockerfile",
    "doctor",
    "init",
    "completions",
];

#[test]
fn the_documents_name_every_command_and_flag() {
    let page = read("docs/commands.md");
    let table = section(&page, "## Commands");
    // `help` is clap's.
    let commands: Vec<String> =
        help(&[]).lines().filter_map(command_of).filter(|command| command != "help").collect();
    assert_eq!(commands, COMMANDS);
    for command in every_command() {
        let name = command.join(" ");
        assert!(
            table.contains(&format!("| `cdflow {name}")),
            "docs/commands.md: no `cdflow {name}` in the table"
        );
        for flag in flags(&help(&command)) {
            assert!(
                names(&page, &flag),
                "docs/commands.md: `{flag}` of `cdflow {name}` is missing"
            );
        }
    }
}

/// Up to the options that several commands share, the help of each command fits a screen.
#[test]
fn the_help_of_a_command_is_short() {
    let shared = ["Report options:", "Download options:", "Global options:"];
    for command in every_command() {
        let help = help(&command);
        let own = help.lines().take_while(|line| !shared.contains(line)).count();
        assert!(own < help.lines().count(), "no shared options: {help}");
        assert!(own <= 25, "cdflow {}: {own} lines\n{help}", command.join(" "));
    }
}

/// The script of bash is loaded by bash, and completes.
#[test]
fn completion_scripts_complete() {
    let script = cdflow(["completions", "bash"]).run().success().stdout.clone();
    let sandbox = Sandbox::new();
    let typed = |words: &str, at: usize| {
        let text = format!(
            "{script}\nCOMP_WORDS=({words}); COMP_CWORD={at}\n\
             _cdflow cdflow \"${{COMP_WORDS[{at}]}}\" \"\"\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
        );
        let output = Runner::new("bash", ["-c", &text], &sandbox).run();
        output.success().stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(typed("cdflow rel", 1), ["release", "releases"]);
    assert!(typed("cdflow deploy --plan", 2).contains(&"--plan-only".to_owned()));
    assert!(typed("cdflow cred", 1).iter().all(|word| word.is_empty()), "hidden commands");
    cdflow(["completions", "tcsh"]).run().fails(2).stderr_has("bash, zsh, fish");
}

/// What fish offers for a line.
#[test]
fn completion_scripts_complete_in_fish() {
    let (sandbox, file) = completions("fish");
    let offered = |line: &str| {
        let text = format!("source {}; complete -C \"{line}\"", file.display());
        let output = Runner::new("fish", ["--no-config", "-c", &text], &sandbox).run();
        let words = output.success().stdout.lines().map(|line| line.split('\t').next().unwrap());
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(offered("cdflow rel"), ["release", "releases"]);
    assert_eq!(offered("cdflow deploy --plan"), ["--plan-only", "--plan-out"]);
    assert_eq!(offered("cdflow preview u"), ["up"]);
    assert_eq!(offered("cdflow cred"), [""; 0], "a hidden command");
}

/// An interactive zsh at a terminal: the arguments are the completion script, a line after which
/// Tab is pressed, and text that is then shown.
const ZSH: &str = r#"
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1='ready> '; autoload -Uz compinit; compinit -u -D; source $1; echo loaded"
zpty -r -m shell text '*loaded*ready> '
zpty -w -n shell $2$'\t\t'
zpty -r -m shell text "*$3*"
print -r -- $text
zpty -d shell
"#;

#[test]
fn completion_scripts_complete_in_zsh() {
    let (sandbox, file) = completions("zsh");
    let shown = |line: &str, last: &str| {
        let arguments = ["-f", "-c", ZSH, "zsh", file.to_str().unwrap(), line, last];
        Runner::new("zsh", arguments, &sandbox).env("TERM", "xterm").run()
    };
    shown("cdflow rel", "List the published").success().stdout_has_in_order(&[
        "cdflow release",
        "release   -- Build, bundle and publish a version",
        "releases  -- List the published",
    ]);
    shown("cdflow deploy --plan", "Write the plan").success().stdout_has("--plan-only  -- Show");
}

/// The completion script of a shell in a file.
fn completions(shell: &str) -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    let file = sandbox.work().join(shell);
    let script = cdflow(["completions", shell]).run().success().stdout.clone();
    fs::write(&file, script).unwrap();
    (sandbox, file)
}

#[test]
fn manual_pages_are_written() {
    let sandbox = Sandbox::new();
    let folder = sandbox.work().join("man");
    let path = folder.to_str().unwrap();
    Runner::new(env!("CARGO_BIN_EXE_cdflow"), ["man", path], &sandbox).run().success();
    for page in ["cdflow.1", "cdflow-deploy.1", "cdflow-preview-up.1"] {
        let text = fs::read_to_string(folder.join(page)).unwrap();
        assert!(text.contains(".TH"), "{page}: {text}");
    }
    assert!(!folder.join("cdflow-post.1").exists());
}

#[test]
fn the_documents_name_no_unknown_flag() {
    let known: BTreeSet<String> =
        every_command().iter().flat_map(|command| flags(&help(command))).collect();
    let known = known.into_iter().chain(flags(&help(&[]))).collect::<BTreeSet<_>>();
    let page = read("docs/commands.md");
    let commands = section(&page, "## Commands");
    let flags_of_table = commands.lines().filter(|line| line.starts_with('|')).flat_map(flags);
    for flag in flags_of_table {
        assert!(known.contains(&flag), "docs/commands.md: unknown flag `{flag}`");
    }
}

#[test]
fn the_documents_name_every_exit_code() {
    let page = read("docs/exit-codes.md");
    let table: Vec<u8> = section(&page, "## Codes")
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" |")?.0.parse().ok())
        .collect();
    let source = read("src/base/error.rs");
    let of_source = source
        .lines()
        .filter_map(|line| line.trim().split_once(" = ")?.1.strip_suffix(',')?.parse().ok());
    let codes: Vec<u8> = std::iter::once(0).chain(of_source).collect();
    assert!(
        codes.len() > 10,
        "src/base/error.rs is no longer written as this test reads it: {codes:?}"
    );
    assert_eq!(table, codes);
}

#[test]
fn the_documents_name_every_key() {
    let page = read("docs/configuration.md");
    for (section_name, source, structs) in [
        (
            "## cdflow.yml",
            "src/config/component.rs",
            &["Manifest", "Lambda", "Docker", "Function", "Deploy", "ReportSettings"][..],
        ),
        ("## cdflow.yml", "src/config/preview.rs", &["Preview"][..]),
        ("## cdflow.yml", "src/config/comments.rs", &["Comments"][..]),
        ("## cdflow.yml", "src/config/hooks.rs", &["Hooks"][..]),
        ("## Account scheme", "src/config/policy/file.rs", &["PolicyFile"][..]),
        ("## cdflow.yml", "src/config/guards.rs", &["GuardSettings", "EnvironmentGuards"][..]),
        (
            "## Account scheme",
            "src/config/scheme/file.rs",
            &["SchemeFile", "FileAccount", "FileBackend", "UpgradeKeys"][..],
        ),
    ] {
        let text = section(&page, section_name);
        for name in structs {
            for key in keys(&read(source), name) {
                let spellings = [
                    format!("`{key}`"),
                    format!("`{key}."),
                    format!(".{key}`"),
                    format!("\"{key}\""),
                ];
                assert!(
                    spellings.iter().any(|it| text.contains(it)),
                    "docs/configuration.md, {section_name}: `{key}` is missing"
                );
            }
        }
    }
}

/// The lists of keys are read from the source; this test compares them with the program's own
/// list.
#[test]
fn the_program_accepts_exactly_the_keys_in_its_source() {
    let project = Project::local("greeting");
    project.append("cdflow.yml", "zzzzzzzzzzzzzzzzzzzzzzzz: 1\n");
    let output = project.cdflow(["status"]).run();
    output.fails(2).stderr_has(&format!(
        "expected one of: {}",
        keys(&read("src/config/component.rs"), "Manifest").join(", ")
    ));

    let project = Project::local("greeting");
    project
        .edit_json("account-scheme.json", |scheme| scheme["zzzzzzzzzzzzzzzzzzzzzzzz"] = 1.into());
    let output = project.cdflow(["status"]).run();
    output.fails(2).stderr_has(&format!(
        "expected one of: {}",
        keys(&read("src/config/scheme/file.rs"), "SchemeFile").join(", ")
    ));
}

#[test]
fn the_documents_name_every_variable_that_terraform_gets() {
    let page = read("docs/terraform.md");
    let text = section(&page, "## Environment variables");
    let source = read("src/base/process_env.rs");
    let names: Vec<&str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("    \"")?.strip_suffix("\","))
        .collect();
    assert!(
        names.len() > 20,
        "src/base/process_env.rs is no longer written as this test reads it: {names:?}"
    );
    for name in names {
        assert!(text.contains(&format!("`{name}`")), "docs/terraform.md: `{name}` is missing");
    }
}

#[test]
fn examples_of_cdflow_yml_and_the_account_scheme_load() {
    let pages = read("docs/configuration.md") + &read("docs/aws.md");
    let manifests: Vec<String> = blocks(&pages, "yaml")
        .into_iter()
        .filter(|block| block.contains("account-scheme-url:"))
        .collect();
    let schemes: Vec<String> = blocks(&pages, "json")
        .into_iter()
        .filter(|block| block.contains("\"release-account\""))
        .collect();
    assert!(!manifests.is_empty() && schemes.len() >= 2, "{manifests:?} {schemes:?}");
    let aws = Aws::new("documents");
    let load = |scheme: &str, manifest: &str| {
        let project = Project::local("greeting");
        project.write("account-scheme.json", scheme);
        project.write(
            "cdflow.yml",
            &manifest
                .replace("s3://acme-cdflow/account-scheme.json #", "./account-scheme.json #")
                .replace(
                    "account-scheme-url: s3://acme-cdflow/account-scheme.json\n",
                    "account-scheme-url: ./account-scheme.json\n",
                ),
        );
        project.write("src/handler.py", "def handle(event, context): return {}\n");
        project.commit("As the documents say");
        let output = project.cdflow(["release", "1", "--dry-run"]).envs(aws.env()).run();
        output.success().stdout_has("would be published as");
    };
    manifests.iter().for_each(|manifest| load(&schemes[0], manifest));
    schemes.iter().for_each(|scheme| load(scheme, &manifests[0]));
}

#[test]
fn json_in_the_documents_is_valid() {
    let documents = documents();
    let found: Vec<String> =
        documents.iter().flat_map(|document| blocks(&read(document), "json")).collect();
    assert!(found.len() > 5, "{found:?}");
    for block in found {
        serde_json::from_str::<serde_json::Value>(&block)
            .unwrap_or_else(|error| panic!("{error}:\n{block}"));
    }
}

#[test]
fn links_in_the_documents_resolve() {
    for document in &documents() {
        let (file, text) = (in_repository(document), read(document));
        let targets = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
        for target in targets.filter(|target| !target.contains("://")) {
            let (path, heading) = target
                .split_once('#')
                .map_or((target, None), |(path, wanted)| (path, Some(wanted)));
            let linked =
                if path.is_empty() { file.clone() } else { file.parent().unwrap().join(path) };
            assert!(linked.exists(), "{document}: `{target}` is missing");
            let Some(heading) = heading else { continue };
            let found = fs::read_to_string(linked)
                .unwrap()
                .lines()
                .filter_map(anchor)
                .any(|it| it == heading);
            assert!(found, "{document}: no heading for `{target}`");
        }
    }
}

/// The guide has one row for each behaviour of the predecessor, in its order, with the outcome.
#[test]
fn the_migration_guide_is_complete() {
    let guide = read("docs/migrating-from-cdflow.md");
    let cells = |line: &str| -> Vec<String> {
        line.split(" | ").map(|cell| cell.trim_matches(['|', ' ']).to_owned()).collect()
    };
    let rows: Vec<Vec<String>> =
        guide.lines().map(cells).filter(|row| row[0].parse::<usize>().is_ok()).collect();
    let numbers: Vec<usize> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(numbers, (1..=76).collect::<Vec<_>>());
    for row in rows {
        assert!(
            ["same", "changed: ", "removed: "].iter().any(|word| row[2].starts_with(word)),
            "{row:?}"
        );
    }
}

#[test]
fn action_yml_its_page_and_the_program_have_the_same_inputs() {
    let declared = names_of(&action_yml()["inputs"]);
    assert_eq!(column(section(&read("docs/github-actions.md"), "## Inputs")), declared);
    // The other direction, that every input of the program is declared, is tested in
    // src/cli/action.rs.
    for input in declared.iter().filter(|input| *input != "command") {
        let output = cdflow([""; 0])
            .env("INPUT_COMMAND", "status")
            .env(format!("INPUT_{}", input.to_uppercase()), "x")
            .run();
        output.fails(2).lacks("unknown input");
    }
    cdflow([""; 0])
        .env("INPUT_COMMAND", "status")
        .env("INPUT_NONE", "x")
        .run()
        .stderr_has("unknown input `none`");
}

#[test]
fn action_yml_its_page_and_the_program_have_the_same_outputs() {
    let declared = names_of(&action_yml()["outputs"]);
    let source = read("src/report/outputs.rs") + &read("src/report/publish.rs");
    // rustfmt breaks some of the pairs over several lines.
    let source: String = source.split_whitespace().collect();
    let written: BTreeSet<String> =
        declared.iter().filter(|name| source.contains(&format!("(\"{name}\","))).cloned().collect();
    assert_eq!(written, declared);
    assert_eq!(column(section(&read("docs/reports.md"), "## Outputs")), declared);
}

/// Steps in examples and documents use only declared inputs and outputs of the Action.
#[test]
fn workflows_use_declared_inputs_and_outputs() {
    let action = action_yml();
    let (inputs, outputs) = (names_of(&action["inputs"]), names_of(&action["outputs"]));
    let of_page = |page: &str| {
        blocks(&read(page), "yaml")
            .into_iter()
            .map(|block| (page.to_owned(), block))
            .collect::<Vec<_>>()
    };
    let mut workflows = [of_page("docs/github-actions.md"), of_page("README.md")].concat();
    for entry in fs::read_dir(in_repository("examples/workflows")).unwrap() {
        let name = format!("examples/workflows/{}", entry.unwrap().file_name().to_str().unwrap());
        workflows.push((name.clone(), read(&name)));
    }
    let mut steps = Vec::new();
    for (name, text) in &workflows {
        let mut found = Vec::new();
        steps_of(
            &serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}")),
            &mut found,
        );
        for step in &found {
            for input in names_of(&step["with"]) {
                assert!(inputs.contains(&input), "{name}: unknown input `{input}`");
            }
            for command in commands_of(step["with"]["command"].as_str().unwrap()) {
                assert!(is_command(&command), "{name}: unknown command `{command}`");
            }
            let Some(id) = step["id"].as_str() else { continue };
            for used in text.split(&format!("steps.{id}.outputs.")).skip(1) {
                let output =
                    used.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).next().unwrap();
                assert!(outputs.contains(output), "{name}: unknown output `{output}`");
            }
        }
        steps.extend(found);
    }
    assert!(workflows.len() > 6 && steps.len() > 10, "{workflows:?}");
}

/// Returns the commands of an input, including those in an expression:
/// `${{ … && 'preview down' || 'preview up' }}`.
fn commands_of(text: &str) -> impl Iterator<Item = String> {
    let words: Vec<String> = match text.contains("${{") {
        true => text
            .split('\'')
            .filter(|part| part.starts_with(|c: char| c.is_ascii_lowercase()))
            .map(str::to_owned)
            .collect(),
        false => vec![text.to_owned()],
    };
    words.into_iter().filter(|word| word != "closed")
}

fn is_command(command: &str) -> bool {
    !cdflow([""; 0]).env("INPUT_COMMAND", command).run().stderr.contains("unknown command")
}

/// The steps that use the Action, wherever they are.
fn steps_of(value: &Value, found: &mut Vec<Value>) {
    let ours = ["org/cdflow-action@", "org/cdflow-action/runner@"];
    if value["uses"].as_str().is_some_and(|used| ours.iter().any(|it| used.starts_with(it))) {
        found.push(value.clone());
    }
    match value {
        Value::Object(fields) => fields.values().for_each(|field| steps_of(field, found)),
        Value::Array(items) => items.iter().for_each(|item| steps_of(item, found)),
        _ => {}
    }
}

fn action_yml() -> Value {
    serde_saphyr::from_str(&read("action.yml")).unwrap()
}

fn names_of(mapping: &Value) -> BTreeSet<String> {
    mapping.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

/// Returns the words in backticks in the first column of the tables.
fn column(text: &str) -> BTreeSet<String> {
    let cells = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once(" |").map(|(cell, _)| cell));
    let names = cells.flat_map(|cell| cell.split('`').step_by(2));
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[test]
fn the_code_and_tests_of_every_promise_exist() {
    let page = read("docs/guarantees.md");
    let promises = section(&page, "## Promises");
    let rows: Vec<&str> = promises.lines().filter(|line| line.contains("`src/")).collect();
    assert!(rows.len() >= 22, "docs/guarantees.md: promises are missing: {rows:?}");
    for line in rows {
        let quoted: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        let (files, tests): (Vec<_>, Vec<_>) = quoted.into_iter().partition(|it| it.contains('/'));
        let text: String = files.iter().map(|file| read(file)).collect();
        assert!(!tests.is_empty(), "docs/guarantees.md: a promise without a test: {line}");
        for test in tests {
            assert!(
                text.contains(&format!("fn {test}(")),
                "docs/guarantees.md: `{test}` is not in {}",
                files.join(", ")
            );
        }
    }
}

/// Messages in the tables of the page are quotes; `…` replaces values.
#[test]
fn troubleshooting_quotes_real_messages() {
    let page = read("docs/troubleshooting.md");
    let mut source = String::new();
    let mut folders = vec![in_repository("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                source += &fs::read_to_string(path).unwrap();
            }
        }
    }
    let quotes = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let mut count = 0;
    for quote in quotes {
        for part in quote.split('…').map(str::trim).filter(|part| !part.is_empty()) {
            assert!(source.contains(part), "docs/troubleshooting.md: no message has `{part}`");
            count += 1;
        }
    }
    assert!(count > 10, "{count} messages in docs/troubleshooting.md");
}

#[test]
fn the_architecture_names_every_folder() {
    let text = read("ARCHITECTURE.md");
    let tree = blocks(&text, "text").into_iter().find(|block| block.contains("src/")).unwrap();
    let mut folders = vec![in_repository("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                assert!(
                    tree.contains(&format!("{name}/")),
                    "ARCHITECTURE.md: the folder `{name}` is missing"
                );
                folders.push(path);
            } else if name.ends_with(".rs")
                && !path.components().any(|part| part.as_os_str() == "templates")
            {
                let first = fs::read_to_string(&path)
                    .unwrap()
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                assert!(
                    first.starts_with("//! "),
                    "{}: its first line does not say what it is for",
                    path.display()
                );
            }
        }
    }
}

/// The lines of the tree are paths, by their indentation. Without this test, a line that a merge
/// duplicates or a rename leaves behind would go unnoticed.
#[test]
fn the_architecture_names_each_module_once() {
    let text = read("ARCHITECTURE.md");
    let tree = blocks(&text, "text").into_iter().find(|block| block.contains("src/")).unwrap();
    let (mut folders, mut seen) = (Vec::new(), BTreeSet::new());
    for line in tree.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        if !name.ends_with('/') && !name.ends_with(".rs") {
            continue;
        }
        folders.truncate((line.len() - line.trim_start().len()) / 2);
        let path = format!("{}{name}", folders.concat());
        assert!(in_repository(&path).exists(), "ARCHITECTURE.md: `{path}` is missing");
        if name.ends_with('/') {
            folders.push(name.to_owned());
        }
        assert!(seen.insert(path), "ARCHITECTURE.md: twice: {line}");
    }
    assert!(seen.len() > 40, "{seen:?}");
}

/// A page with several sections lists all of them at its top, in their order.
#[test]
fn contents_name_every_section() {
    let pages = documents();
    let mut with_contents = 0;
    for page in pages.iter().filter(|page| page.starts_with("docs/")) {
        let text = read(page);
        let headings: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        if headings.len() < 2 || text.lines().count() < 80 {
            continue;
        }
        let top = text.split("\n## ").next().unwrap().lines();
        let contents: Vec<&str> = top
            .filter_map(|line| line.strip_prefix("- [")?.split_once(']').map(|(title, _)| title))
            .collect();
        assert_eq!(contents, headings, "{page}");
        with_contents += 1;
    }
    assert!(with_contents >= 8, "{with_contents} pages with contents");
}

/// A newcomer reads the README in one go, and finds the two commands to start with.
#[test]
fn the_readme_is_short() {
    let readme = read("README.md");
    assert!(readme.lines().count() < 150, "README.md: {} lines", readme.lines().count());
    for command in ["`make demo`", "`make test`"] {
        assert!(readme.contains(command), "README.md: {command} is missing");
    }
}

/// Returns the paths of the pages for people.
fn documents() -> Vec<String> {
    let pages = fs::read_dir(in_repository("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let pages = pages.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}"));
    let others = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"]
        .map(str::to_owned);
    let examples = fs::read_dir(in_repository("examples")).unwrap().map(|entry| {
        format!("examples/{}/README.md", entry.unwrap().file_name().into_string().unwrap())
    });
    let examples = examples.filter(|page| in_repository(page).exists());
    others.into_iter().chain(pages).chain(examples).collect()
}

/// A reader finds every page from the README.
#[test]
fn the_readme_names_every_page() {
    let readme = read("README.md");
    for page in documents().iter().filter(|page| page.starts_with("docs/")) {
        assert!(
            section(&readme, "## Documentation").contains(&format!("]({page})")),
            "README.md: a link to {page} is missing"
        );
    }
}

fn read(file: &str) -> String {
    fs::read_to_string(in_repository(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Returns the commands as they are typed: `preview` and `comment` have subcommands.
fn every_command() -> Vec<Vec<&'static str>> {
    let previews = ["up", "down", "reap"].map(|command| vec!["preview", command]);
    let comments = ["check", "run"].map(|command| vec!["comment", command]);
    COMMANDS
        .iter()
        .filter(|command| !["preview", "comment"].contains(*command))
        .map(|command| vec![*command])
        .chain(previews)
        .chain(comments)
        .collect()
}

fn help(arguments: &[&str]) -> String {
    cdflow(arguments.iter().copied().chain(["--help"])).run().success().stdout.clone()
}

/// Returns the name in a line of the command list: two spaces, name, spaces, summary.
fn command_of(line: &str) -> Option<String> {
    let (name, _) = line.strip_prefix("  ")?.split_once("  ")?;
    (!name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase())).then(|| name.to_owned())
}

/// `--release-data` and the like.
fn flags(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words
        .filter(|word| {
            word.strip_prefix("--")
                .is_some_and(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
        })
        .map(str::to_owned)
        .collect()
}

/// Whether `text` contains exactly `flag`, not only a longer flag with this prefix.
fn names(text: &str, flag: &str) -> bool {
    flags(text).contains(flag)
}

/// Returns the text from a heading to the next one of its level.
fn section<'t>(text: &'t str, heading: &str) -> &'t str {
    let start =
        text.find(&format!("\n{heading}")).unwrap_or_else(|| panic!("`{heading}` is missing")) + 1;
    let end = text[start + 1..].find("\n## ").map_or(text.len(), |end| start + 1 + end);
    &text[start..end]
}

/// Returns the contents of the fenced blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut block: Option<(bool, String)> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), block.as_mut()) {
            (Some(opened), None) => block = Some((opened == language, String::new())),
            (Some(_), Some(_)) => {
                found.extend(block.take().filter(|(wanted, _)| *wanted).map(|(_, text)| text))
            }
            (None, Some((_, text))) => *text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    found
}

/// Returns the keys of a struct that serde reads, as the file spells them.
fn keys(source: &str, name: &str) -> Vec<String> {
    let start = source
        .find(&format!("struct {name} {{"))
        .unwrap_or_else(|| panic!("struct `{name}` is missing"));
    let body = &source[start..start + source[start..].find("\n}").unwrap()];
    let mut renamed: Option<String> = None;
    let mut found = Vec::new();
    for line in body.lines().skip(1).map(str::trim) {
        if let Some(rest) = line.split_once("rename = \"").map(|(_, rest)| rest) {
            renamed = rest.split_once('"').map(|(key, _)| key.to_owned());
        } else if let Some((field, _)) =
            line.split_once(": ").filter(|_| !line.starts_with(['/', '#']))
        {
            let field = field.trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
            found.push(renamed.take().unwrap_or_else(|| field.replace('_', "-")));
        }
    }
    assert!(!found.is_empty(), "`{name}` is no longer written as this test reads it");
    found
}

/// Returns the anchor that GitHub derives from a heading.
fn anchor(line: &str) -> Option<String> {
    let title = line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#'))?;
    let kept = title
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .collect::<String>();
    Some(kept.replace(' ', "-"))
}
