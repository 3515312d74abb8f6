//! Files of values that Terraform loads without being asked.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{Folder, compare_all, diagnostics};
use crate::terraform::code::{declarations::Declarations, files::Dialect};

const FOLDERS: usize = 16;
const VARIABLES: [&str; 4] = ["a", "b", "c", "d"];

const NAMES: [&str; 12] = [
    "terraform.tfvars",
    "terraform.tfvars.json",
    "x.auto.tfvars",
    "x.auto.tfvars.json",
    ".auto.tfvars",
    ".x.auto.tfvars",
    "x.auto.tfvars~",
    "#x.auto.tfvars#",
    "x.AUTO.tfvars",
    "x.tfvars",
    "Terraform.tfvars",
    "auto.tfvars.json",
];
const HCL: [&str; 4] =
    ["NAME = 1\n", "\u{feff}NAME = \"x\"\r\n", "# NAME\nNAME = {\n  a = 1\n}\n", "# NAME = 1\n"];
const JSON: [&str; 3] = [r#"{"NAME": 1}"#, r#"{"//": "x", "NAME": null, "e": {"a": 1}}"#, "{}"];

fn folder() -> impl Strategy<Value = Folder> {
    let name = prop::sample::select(&NAMES[..]);
    let variable = prop::sample::select(&VARIABLES[..]);
    let file = (name, variable, 0..HCL.len(), 0..JSON.len());
    prop::collection::vec(file, 0..6).prop_map(|files| {
        let declared = VARIABLES.map(|name| format!("variable \"{name}\" {{}}\n")).concat();
        let mut folder = BTreeMap::from([("main.tf".to_owned(), declared.into_bytes())]);
        for (name, variable, hcl, json) in files {
            let text = if name.contains(".json") { JSON[json] } else { HCL[hcl] };
            folder.insert(name.to_owned(), text.replace("NAME", variable).into_bytes());
        }
        Folder(folder)
    })
}

#[test]
fn terraform_assigns_the_same_variables() {
    let unread = compare_all(folder(), FOLDERS, |folder| {
        let root = folder.write();
        let found = Declarations::read(root.path(), "infra", Dialect::Terraform).unwrap();
        let ours: BTreeSet<&str> =
            VARIABLES.into_iter().filter(|name| found.assigned.contains_key(*name)).collect();
        let missing = diagnostics(root.path(), "No value for required variable", &[]);
        let is_missing =
            |name: &str| missing.iter().any(|text| text.contains(&format!("{name:?}")));
        let theirs: BTreeSet<&str> =
            VARIABLES.into_iter().filter(|name| !is_missing(name)).collect();
        assert_eq!(ours, theirs, "{folder}{missing:?}");
        !found.unread.is_empty()
    });
    assert_eq!(unread, 0);
}
