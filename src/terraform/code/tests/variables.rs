//! The variables that Terraform finds.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use proptest::prelude::*;

use super::{Folder, compare_all, diagnostics};
use crate::terraform::code::{declarations::Declarations, files::Dialect};

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
    let unread = compare_all(folder(), FOLDERS, compare);
    assert!(unread < FOLDERS / 2, "too many folders with a file that cannot be parsed: {unread}");
}

/// Returns whether a file cannot be parsed.
fn compare(folder: &Folder) -> bool {
    let root = folder.write();
    let found = Declarations::read(root.path(), "infra", Dialect::Terraform).unwrap();
    let ours: BTreeSet<String> = found.variables.iter().map(|it| it.name.clone()).collect();
    let undeclared = undeclared(root.path());
    let theirs: BTreeSet<String> =
        names().into_iter().filter(|name| !undeclared.contains(name)).collect();
    // With a file that cannot be parsed, all values are passed.
    match found.unread.is_empty() {
        true => assert_eq!(ours, theirs, "{folder}"),
        false => {
            assert!(ours.is_subset(&theirs), "{folder}");
            assert!(theirs.iter().all(|name| found.may_declare(name)), "{folder}");
        }
    }
    !found.unread.is_empty()
}

/// Gives every name a value, and returns those that Terraform rejects as not declared.
fn undeclared(root: &Path) -> BTreeSet<String> {
    let values: Vec<String> = names().iter().map(|name| format!("-var={name}=1")).collect();
    let details = diagnostics(root, "Value for undeclared variable", &values);
    details.iter().map(|detail| detail.split('"').nth(1).unwrap().to_owned()).collect()
}
