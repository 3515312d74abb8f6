//! Modules, providers and the backend, as `terraform init` finds them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use proptest::prelude::*;
use serde_json::Value;

use super::{Folder, compare_all, terraform};
use crate::terraform::code::{declarations::Declarations, files::Dialect};

const FOLDERS: usize = 24;

/// Parts of a file, each in both syntaxes. `#` is replaced by the file's number.
const PARTS: [[&str; 2]; 9] = [
    ["module \"m#\" {\n  source = \"./m\"\n}\n", r#""module": {"m#": {"source": "./m"}}"#],
    ["module m# { source = \"./n\" }\n", r#""module": [{"m#": [{"source": "./n"}]}]"#],
    [
        "module \"m#\" {\n  // source = \"./n\"\n  source = \"\\u002e/m\"\n}\n",
        r#""module": {"m#": {"//": "./n", "source": "\u002e/m"}}"#,
    ],
    ["resource \"p#_thing\" \"x\" {}\n", r#""resource": {"p#_thing": {"x": {}}}"#],
    ["data \"p#_thing\" \"x\" {}\n", r#""data": [{"p#_thing": [{"x": {}}]}]"#],
    ["ephemeral \"p#_thing\" \"x\" {}\n", r#""ephemeral": {"p#_thing": {"x": {}}}"#],
    ["provider \"p#\" {}\n", r#""provider": {"p#": [{"alias": "x"}, {}]}"#],
    [
        "terraform {\n  required_providers {\n    p# = {\n      source = \"acme/p#\"\n    }\n  \
         }\n}\n",
        r#""terraform": {"required_providers": {"p#": {"source": "acme/p#"}}}"#,
    ],
    ["resource \"terraform_data\" \"x#\" {}\n", r#""resource": {"terraform_data": {"x#": {}}}"#],
];

/// Names of override files, and of files that only look like some.
const OVERRIDES: [&str; 8] = [
    "override.tf",
    "x_override.tf",
    "override.tf.json",
    "x_override.tf.json",
    "x-override.tf~",
    "._override.tf",
    "overrides.tofu",
    "override.TF",
];

/// Numbers of parts, the syntax, and the name and kind of an override file.
fn folder() -> impl Strategy<Value = Folder> {
    let file = (prop::collection::vec(0..PARTS.len(), 1..3), any::<bool>());
    let over = (prop::sample::select(&OVERRIDES[..]), any::<bool>());
    (prop::collection::vec(file, 1..4), prop::option::of(over)).prop_map(|(files, over)| {
        let backend = "terraform {\n  backend \"local\" {\n    path = \"base\"\n  }\n}\n";
        let base = format!("{backend}module \"base\" {{\n  source = \"./m\"\n}}\n");
        let mut folder = BTreeMap::from([
            ("main.tf".to_owned(), base.into_bytes()),
            ("m/x.tf".to_owned(), b"output \"o\" {\n  value = 1\n}\n".to_vec()),
            ("n/x.tf".to_owned(), b"output \"o\" {\n  value = 2\n}\n".to_vec()),
        ]);
        let mut is_first = Some(());
        for (number, (parts, is_json)) in files.into_iter().enumerate() {
            let name = if is_json { "f#.tf.json" } else { "f#.tf" };
            let parts: Vec<String> = parts
                .into_iter()
                .enumerate()
                // Terraform rejects two of one name, and a second list of providers.
                .filter(|(_, kind)| {
                    !PARTS[*kind][0].starts_with("terraform") || is_first.take().is_some()
                })
                .map(|(part, kind)| {
                    PARTS[kind][usize::from(is_json)].replace('#', &format!("{number}{part}"))
                })
                .collect();
            let text = match is_json {
                true => format!("{{{}}}", parts.join(", ")),
                false => parts.concat(),
            };
            folder.insert(name.replace('#', &number.to_string()), text.into_bytes());
        }
        folder.extend(over.map(|(name, is_backend)| {
            (name.to_owned(), overriding(is_backend, name.contains(".json")).into())
        }));
        Folder(folder)
    })
}

fn overriding(is_backend: bool, is_json: bool) -> &'static str {
    match (is_backend, is_json) {
        (true, false) => "terraform {\n  backend \"local\" {\n    path = \"over\"\n  }\n}\n",
        (true, true) => r#"{"terraform": [{"backend": {"local": {"path": "over"}}}]}"#,
        (false, false) => "module \"base\" {\n  source = \"./n\"\n}\n",
        (false, true) => r#"{"module": {"base": {"source": "./n"}}}"#,
    }
}

#[test]
fn terraform_finds_the_same_modules_providers_and_backend() {
    let unread = compare_all(folder(), FOLDERS, |folder| {
        let root = folder.write();
        let found = Declarations::read(root.path(), "infra", Dialect::Terraform).unwrap();
        let initialized = Initialized::run(root.path());
        let modules = found.modules.iter().map(|it| (it.name.clone(), it.source.trim().to_owned()));
        assert_eq!(modules.collect::<BTreeMap<_, _>>(), initialized.modules, "{folder}");
        assert_eq!(found.providers, initialized.providers, "{folder}");
        let is_refused = found.check_overrides().is_err();
        assert_eq!(is_refused, initialized.backend == "over", "{folder}");
        !found.unread.is_empty()
    });
    assert_eq!(unread, 0);
}

struct Initialized {
    /// Names and sources.
    modules: BTreeMap<String, String>,
    providers: BTreeSet<String>,
    /// Its path.
    backend: String,
}

impl Initialized {
    /// Runs `terraform init` with a mirror that has no provider: each one is an error.
    fn run(root: &Path) -> Self {
        let mirror = tempfile::tempdir().unwrap();
        let settings = mirror.path().join("terraform.rc");
        let path = mirror.path().display();
        fs::write(
            &settings,
            format!("provider_installation {{ filesystem_mirror {{ path = \"{path}/none\" }} }}"),
        )
        .unwrap();
        let output = terraform(root)
            .args(["init", "-input=false", "-no-color"])
            .env("TF_CLI_CONFIG_FILE", &settings)
            .output()
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        let words: Vec<&str> = errors.split_whitespace().filter(|word| *word != "│").collect();
        let shown = words.join(" ");
        let said = shown.split("available versions for provider ").skip(1);
        let providers = said.filter_map(|rest| rest.split(':').next()?.rsplit('/').next());
        let providers: BTreeSet<String> = providers.map(str::to_owned).collect();
        assert!(output.status.success() != shown.contains("Error"), "{shown}");
        assert_eq!(shown.matches("Error:").count(), providers.len(), "{shown}");
        let read = |path: &str| -> Value {
            let text = fs::read(root.join(".terraform").join(path)).unwrap();
            serde_json::from_slice(&text).unwrap()
        };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let index = read("modules/modules.json");
        let calls = index["Modules"].as_array().unwrap().iter().filter(|it| it["Key"] != "");
        Self {
            modules: calls.map(|it| (text(&it["Key"]), text(&it["Source"]))).collect(),
            providers,
            backend: text(&read("terraform.tfstate")["backend"]["config"]["path"]),
        }
    }
}
