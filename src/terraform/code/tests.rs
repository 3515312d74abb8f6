//! Generated folders of code, in which cdflow must find the variables that Terraform finds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::Path,
};

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use super::{declarations::Declarations, files::Dialect};

/// As many folders are compared.
const FOLDERS: usize = 48;

/// Names of files, of which Terraform reads some. `#` is replaced by the file's number.
const HCL_NAMES: [&str; 9] =
    ["f#.tf", "F#.tf", "f-#.tf", ".f#.tf", "._f#.tf", "f#.tf~", "#f#.tf#", "f#.TF", "f#.tofu"];
const JSON_NAMES: [&str; 5] =
    ["f#.tf.json", ".f#.tf.json", "f#.tf.json~", "f#.tofu.json", "f#.json"];

/// A file that declares the variables `a` and `b`.
const HCL: [&str; 11] = [
    "variable \"a\" {}\nvariable \"b\" { default = 1 }\n",
    "\u{feff}variable \"a\" {}\nvariable \"b\" {}\n",
    "variable a {}\r\nvariable b {\r\n  type = any\r\n}\r\n",
    "# caf\u{1}\n/* variable \"no\" {} */ variable \"a\" {}\nvariable \"b\" {}",
    "variable \"a\" {\n  default = <<-EOT\n    variable \"no\" {\n    EOT\n}\nvariable \"b\" {}\n",
    "variable \"a\" { ephemeral = \"true\" }\nvariable \"b\" { sensitive = true }\n",
    "locals { x# = \"${\"${\"}\"}\"} variable\" }\nvariable \"a\" {}\nvariable \"b\" {}\n",
    "variable \"a\" {\n  description = \"No: }.\" # }\n  type = any // }\n}\nvariable \"b\" {}\n",
    "locals { x# = DEEP }\nvariable \"a\" {}\nvariable \"b\" {}\n",
    "locals { x# = { \"a\" : 1, b = { for k, v in {} : k => v... if v }, } }\nvariable \"a\" {}\n\
     variable \"b\" {}\n",
    "\n\t variable \"a\"{}\n\n\nvariable \"b\" { # }\n}\n",
];
const JSON: [&str; 8] = [
    r#"{"variable": {"a": {}, "b": {"default": 1}}}"#,
    r#"[{"variable": {"a": {}}}, {"variable": {"b": {}}}]"#,
    r#"{"variable": [{"a": {}}, {"b": {}}]}"#,
    r#"{"variable": {"a": [{}], "b": [{"type": "string"}]}}"#,
    r#"{"variable": {"a": {}}, "variable": {"b": {}}}"#,
    r#"{"//": "x", "variable": [{"\u0061": {}, "b": {}}], "locals": {"x#": 1e400}}"#,
    r#"{"terraform": [], "locals": {"x#": "variable"}}"#,
    r#"{"locals": {"x#": DEEP}, "variable": {"a": {}, "b": {}}}"#,
];

#[derive(Debug)]
struct Folder(BTreeMap<String, Vec<u8>>);

fn folder() -> impl Strategy<Value = Folder> {
    let file = prop_oneof![
        (prop::sample::select(&HCL_NAMES[..]), prop::sample::select(&HCL[..])),
        (prop::sample::select(&JSON_NAMES[..]), prop::sample::select(&JSON[..])),
    ];
    let overridden = prop::sample::select(vec![None, Some("override.tf"), Some("x_override.tf")]);
    let files = prop::collection::vec((file, 1..120_usize, any::<bool>()), 0..5);
    (files, overridden, any::<bool>()).prop_map(|(files, overridden, has_folder)| {
        let mut folder = BTreeMap::from([("main.tf".to_owned(), b"variable \"base\" {}".to_vec())]);
        if has_folder {
            folder.insert("folder.tf/x.tf".to_owned(), b"variable \"no\" {}".to_vec());
        }
        folder.extend(overridden.map(|name| {
            (name.to_owned(), "\u{feff}variable \"base\" { default = 1 }".as_bytes().to_vec())
        }));
        for (number, ((name, text), depth, is_latin)) in files.into_iter().enumerate() {
            let deep = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
            let text = text.replace("x#", &format!("x{number}")).replace("DEEP", &deep);
            let mut text = renamed(&text, number).into_bytes();
            if is_latin && !name.contains(".json") {
                // A comment in an encoding that is not UTF-8.
                text.extend(b"\n# caf\xe9\n");
            }
            folder.insert(name.replace("f#", &format!("f{number}")), text);
        }
        Folder(folder)
    })
}

/// Gives the variables of each file their own names: Terraform rejects two of one name.
fn renamed(text: &str, number: usize) -> String {
    ["a", "b"].iter().fold(text.to_owned(), |text, name| {
        text.replace(&format!("variable \"{name}\""), &format!("variable \"{name}{number}\""))
            .replace(&format!("variable {name} "), &format!("variable {name}{number} "))
            .replace(&format!("\"{name}\": {{"), &format!("\"{name}{number}\": {{"))
            .replace(&format!("\"{name}\": [{{"), &format!("\"{name}{number}\": [{{"))
            .replace("\"\\u0061\"", &format!("\"\\u0061{number}\""))
    })
}

/// Every name that a folder might declare.
fn names() -> Vec<String> {
    let numbered = (0..5).flat_map(|number| [format!("a{number}"), format!("b{number}")]);
    numbered.chain(["base", "no"].map(str::to_owned)).collect()
}

#[test]
fn terraform_declares_the_same_variables() {
    let mut runner = TestRunner::deterministic();
    let folders: Vec<Folder> =
        (0..FOLDERS).map(|_| folder().new_tree(&mut runner).unwrap().current()).collect();
    let unread: usize = std::thread::scope(|scope| {
        let parts = folders.chunks(FOLDERS / 4);
        let threads: Vec<_> = parts
            .map(|part| scope.spawn(|| part.iter().filter(|folder| folder.compare()).count()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(unread < FOLDERS / 2, "too many folders with a file that cannot be parsed: {unread}");
}

impl Folder {
    /// Returns whether a file cannot be parsed.
    fn compare(&self) -> bool {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in &self.0 {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = Declarations::read(root.path(), "infra", Dialect::Terraform).unwrap();
        let ours: BTreeSet<String> = found.variables.iter().map(|it| it.name.clone()).collect();
        let undeclared = undeclared(root.path());
        let theirs: BTreeSet<String> =
            names().into_iter().filter(|name| !undeclared.contains(name)).collect();
        // With a file that cannot be parsed, all values are passed.
        match found.unread.is_empty() {
            true => assert_eq!(ours, theirs, "{self}"),
            false => {
                assert!(ours.is_subset(&theirs), "{self}");
                assert!(theirs.iter().all(|name| found.may_declare(name)), "{self}");
            }
        }
        !found.unread.is_empty()
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|(name, text)| writeln!(f, "{name}: {:?}", String::from_utf8_lossy(text)))
    }
}

/// Gives every name a value, and returns those that Terraform rejects as not declared.
#[expect(clippy::disallowed_methods, reason = "the test's own Terraform")]
fn undeclared(root: &Path) -> BTreeSet<String> {
    let output = std::process::Command::new("terraform")
        .args(["plan", "-json", "-input=false"])
        .args(names().iter().map(|name| format!("-var={name}=1")))
        .current_dir(root)
        .env("CHECKPOINT_DISABLE", "1")
        .env_remove("TF_CLI_CONFIG_FILE")
        .output()
        .unwrap();
    let mut found = BTreeSet::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let diagnostic = &event["diagnostic"];
        if diagnostic["severity"] == "error" {
            assert_eq!(diagnostic["summary"], "Value for undeclared variable", "{line}");
            let detail = diagnostic["detail"].as_str().unwrap();
            found.insert(detail.split('"').nth(1).unwrap().to_owned());
        }
    }
    found
}
