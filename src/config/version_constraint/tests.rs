//! The rules in a table, and generated constraints that Terraform itself judges.

use std::collections::BTreeMap;

use proptest::{
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::{RngSeed, TestRunner},
};

use super::*;

#[test]
fn as_terraform_reads_them() {
    for (constraint, version, allowed) in [
        ("1.5.7", "1.5.7", true),
        ("1.5.7", "1.5.8", false),
        ("v1.5.7", "1.5.7", true),
        ("= 1.5", "1.5.0", true),
        ("~> 1.5", "1.11.4", true),
        ("~> 1.5", "2.0.0", false),
        ("~> 1", "2.0.0", true),
        ("~> 1.5.0", "1.5.9", true),
        ("~> 1.5.0", "1.6.0", false),
        ("~> 1.5.3", "1.5.2", false),
        ("~> 1.5.0.0", "1.5.0", false),
        (">= 1.6, < 2.0", "1.11.4", true),
        (">= 1.6, < 1.11", "1.11.4", false),
        ("\t>=1.6\n,\r<2.0 ", "1.11.4", true),
        ("!= 1.11.4", "1.11.4", false),
        (">1.10", "1.10.0", false),
        ("<=1.10", "1.10.0", true),
        ("1.011.04", "1.11.4", true),
        ("1.11.4.0", "1.11.4", true),
        ("> 1.11.4.0", "1.11.4", false),
        ("< 1.11.4.1", "1.11.4", true),
        ("1.11.4+ent", "1.11.4", true),
    ] {
        assert_eq!(allows(constraint, version), allowed, "{constraint} {version}");
    }
}

fn allows(constraint: &str, version: &str) -> bool {
    constraint.parse::<Constraint>().unwrap().allows(&version.parse().unwrap())
}

#[test]
fn a_pre_release_in_a_setting_follows_a_dash() {
    for text in ["1.9.8", "1.13.0-rc1", ">= 1.6, < 2.0", "1.9.8+ent", ">= 1.12-beta1"] {
        assert!(Constraint::of_setting(text).is_ok(), "{text}");
    }
    for text in ["1.9.8x", ">= 1.12.0beta1", ">= 1.6, 1.9.8x", "1.5.0-"] {
        assert!(text.parse::<Constraint>().is_ok(), "{text}");
        let why = Constraint::of_setting(text).unwrap_err();
        assert!(why.contains("directly after the number"), "{why}");
    }
}

/// Terraform's `required_version` has no pre-releases, so it cannot judge these.
#[test]
fn pre_releases_as_go_version_compares_them() {
    for (constraint, version, allowed) in [
        (">= 1.6", "1.12.0-rc1", false),
        ("< 2.0", "1.12.0-rc1", false),
        ("~> 1.12", "1.12.0-rc1", false),
        ("!= 1.6", "1.12.0-rc1", true),
        (">= 1.12.0-beta1", "1.12.0-rc1", true),
        (">= 1.12-beta1", "1.12.0-rc1", true),
        (">= 1.12.0beta1", "1.12.0-rc1", true),
        (">= 1.12.0-beta1", "1.13.0-rc1", false),
        (">= 1.12.0-beta1", "1.12.0", true),
        (">= 1.12.0-beta1", "1.13.0", true),
        ("~> 1.12.0-beta1", "1.12.0-rc1", true),
        ("~> 1.12.0-beta1", "1.12.0-alpha1", false),
        ("~> 1.12.0-beta1", "1.12.1", false),
        ("1.12.0-rc1", "1.12.0-rc1", true),
        ("1.12.0-rc1+ent", "1.12.0-rc1", true),
        ("1.12.0-rc1", "1.12.0", false),
        ("!= 1.12.0-rc1", "1.12.0", true),
        ("> 1.12.0-rc.2", "1.12.0-rc.10", true),
        ("> 1.12.0-rc2", "1.12.0-rc10", false),
        ("> 1.12.0-rc", "1.12.0-rc.1", true),
        ("> 1.12.0-rc", "1.12.0-rc.x", false),
        ("> 1.12.0-7", "1.12.0-rc", true),
        ("> 1.12.0--", "1.12.0-rc", true),
        ("1.12.0-rc1", "1.12.0-rc1+build", true),
        ("1.12.0.0-rc1", "1.12.0", true),
    ] {
        assert_eq!(allows(constraint, version), allowed, "{constraint} {version}");
    }
}

#[test]
fn in_code_a_pre_release_counts_as_its_version() {
    let allows = |constraint, version: &str| {
        Constraint::of_code(constraint).unwrap().allows(&version.parse().unwrap())
    };
    assert!(allows(">= 1.12", "1.12.0-rc1") && allows("~> 1.12.0", "1.12.3-beta2"));
    assert!(!allows("!= 1.12.0", "1.12.0-rc1") && !allows("< 1.12", "1.12.0-alpha1"));
    let error = Constraint::of_code(">= 1.12.0-rc1").unwrap_err();
    assert!(error.contains("names a pre-release, which Terraform rejects"), "{error}");
    assert!(Constraint::of_code(">= 1.x").unwrap_err().contains("column 6"));
}

#[test]
fn what_asks_for_a_pre_release() {
    for (constraint, asks) in [
        ("1.12.0-rc1", true),
        (">= 1.6, >= 1.12-beta1", true),
        ("!= 1.12.0-rc1", false),
        ("!= 1.12.0", false),
        ("1.12.0+ent", false),
    ] {
        assert_eq!(constraint.parse::<Constraint>().unwrap().names_pre_release(), asks);
    }
}

#[test]
fn a_malformed_constraint_names_its_column() {
    for (bad, why) in [
        ("", "expected a version in column 1, found the end"),
        ("latest", "expected a version in column 1, found `l`"),
        ("^1.2", "expected a version in column 1, found `^`"),
        (">= ", "expected a version in column 4, found the end"),
        ("> = 1", "expected a version in column 3, found `=`"),
        ("1.x", "expected a number in column 3, found `x`"),
        ("1..2", "expected a number in column 3, found `.`"),
        ("1.2.", "expected a number in column 5, found the end"),
        (">= 1.6,", "expected a version in column 8, found the end"),
        (">= 1.6,  < two", "expected a version in column 12, found `t`"),
        (">= 1.6 < 2", "expected a comma or the end in column 8, found `<`"),
        ("1.2 || 2.0", "expected a comma or the end in column 5, found `|`"),
        ("1.2\u{a0}", "expected a comma or the end in column 4, found `\\u{a0}`"),
        ("\u{a0}1.2", "expected a version in column 1, found `\\u{a0}`"),
        ("1.2-é", "expected a comma or the end in column 5, found `é`"),
        ("1.2-a.", "expected a letter or digit in column 7, found the end"),
        ("1.2+", "expected a letter or digit in column 5, found the end"),
        ("< 99999999999999999999", "the number in column 3 is too large"),
    ] {
        let error = bad.parse::<Constraint>().unwrap_err();
        assert!(error.contains(&format!("is not a version constraint: {why};")), "{bad}: {error}");
    }
}

#[test]
fn the_one_version() {
    let exact = |text: &str| text.parse::<Constraint>().unwrap().exact();
    assert_eq!(exact("1.11"), Some(Version::new(1, 11, 0)));
    assert_eq!(exact(">= 1.6, = 1.11.4"), Some(Version::new(1, 11, 4)));
    assert_eq!(exact("1.12.0-rc1"), Some("1.12.0-rc1".parse().unwrap()));
    assert_eq!(exact("~> 1.11.0"), None);
    assert_eq!(exact("1.12.0-~"), None);
    let only = Constraint::only(&Version::new(1, 11, 4));
    assert_eq!((only.exact(), only.to_string()), (Some(Version::new(1, 11, 4)), "1.11.4".into()));
    let series = |text: &str| {
        let series = text.parse::<Constraint>().unwrap().as_series();
        series.map(|series| series.to_string())
    };
    assert_eq!(series("1.11").as_deref(), Some("~> 1.11.0"));
    assert_eq!(series("1").as_deref(), Some("~> 1.0"));
    assert_eq!([series("1.11-beta"), series("1.11.0"), series("~> 1.11")], [const { None }; 3]);
}

/// What Terraform says about a `required_version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Allowed,
    Rejected,
    PreRelease,
    Malformed,
}

/// The number of constraints to compare.
const CONSTRAINTS: usize = 600;

/// One folder has a file for each constraint, and each error names its file.
#[test]
fn terraform_judges_generated_constraints_the_same() {
    let version = terraform_version();
    let mut runner = TestRunner::new(ProptestConfig {
        rng_seed: RngSeed::Fixed(12),
        ..ProptestConfig::default()
    });
    let strategy = constraint(&version);
    let texts: Vec<String> =
        (0..CONSTRAINTS).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();
    // If some are malformed, Terraform reports only those.
    let malformed = reported(&texts);
    let theirs = |number: usize| malformed.get(&number).map_or(Verdict::Allowed, |it| *it);
    let mut verdicts: Vec<Verdict> = (0..texts.len()).map(theirs).collect();
    let rest = (0..texts.len()).filter(|number| verdicts[*number] == Verdict::Allowed);
    let rest: Vec<usize> = rest.collect();
    let rest_texts: Vec<String> = rest.iter().map(|number| texts[*number].clone()).collect();
    for (index, verdict) in reported(&rest_texts) {
        verdicts[rest[index]] = verdict;
    }
    let mut counts = BTreeMap::new();
    for (text, theirs) in texts.iter().zip(verdicts) {
        let ours = match (text.parse::<Constraint>(), Constraint::of_code(text)) {
            (Err(_), _) => Verdict::Malformed,
            (Ok(_), Err(_)) => Verdict::PreRelease,
            (Ok(_), Ok(parsed)) if parsed.allows(&version) => Verdict::Allowed,
            (Ok(_), Ok(_)) => Verdict::Rejected,
        };
        assert_eq!(ours, theirs, "{text:?} with {version}");
        *counts.entry(theirs).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 4, "{counts:?}");
    assert!(counts.values().all(|count| *count > CONSTRAINTS / 20), "{counts:?}");
}

/// Constraints close to a version, some of them malformed.
fn constraint(near: &Version) -> impl Strategy<Value = String> + use<> {
    let around = |number: u64| {
        select(
            vec![number; 6]
                .into_iter()
                .chain([number.saturating_sub(1), number + 1, 0])
                .collect::<Vec<_>>(),
        )
    };
    let numbers = (around(near.major), around(near.minor), around(near.patch));
    let written = select(vec![1_usize, 2, 2, 3, 3, 3, 3, 4, 5]);
    let suffix = select(vec![
        "", "", "", "", "", "", "", "", "", "", "", "", "+ent", "+ent.1-x", "-rc1", "-", "beta.2~",
        "-01.a", "-a..b", "+", ".",
    ]);
    let prefix = select(vec!["", "", "", "", "v", "V"]);
    let version = (prefix, numbers, written, 0..3_u64, suffix, any::<bool>()).prop_map(
        |(prefix, (major, minor, patch), written, tail, suffix, is_padded)| {
            let all = [major, minor, patch, tail % 2, 0];
            let shown = all[..written].iter().map(|number| match is_padded && tail == 2 {
                true => format!("0{number}"),
                false => number.to_string(),
            });
            format!("{prefix}{}{suffix}", shown.collect::<Vec<_>>().join("."))
        },
    );
    let operator = select(vec![
        "", "=", "!=", ">", "<", ">=", ">=", "<=", "<=", "~>", "~>", "=>", "==", "~", "^",
    ]);
    let space = || select(vec!["", " ", " ", "  ", "\t", "\n", "\r", "\u{c}", "\u{a0}", "\u{b}"]);
    let operator =
        prop_oneof![9 => select(vec!["", "=", "!=", ">", "<", ">=", "<=", "~>"]), 1 => operator];
    let space = move || prop_oneof![9 => select(vec!["", " "]), 1 => space()];
    let part = (space(), operator, space(), version, space())
        .prop_map(|(a, operator, b, version, c)| format!("{a}{operator}{b}{version}{c}"));
    let whole = prop::collection::vec(part, 1..3).prop_map(|parts| parts.join(","));
    let typo = select("0.9v-+~<>=!,x ^*é|\u{a0}".chars().collect::<Vec<_>>());
    let typo = prop::option::weighted(0.15, (any::<prop::sample::Index>(), typo));
    (whole, typo).prop_map(|(whole, typo)| match typo {
        None => whole,
        Some((index, typo)) => {
            let mut letters: Vec<char> = whole.chars().collect();
            letters.insert(index.index(letters.len() + 1), typo);
            letters.into_iter().collect()
        }
    })
}

/// Returns what Terraform reports, by index. Each constraint has its own file, because Terraform
/// takes seconds to quote a long file in every error.
fn reported(texts: &[String]) -> BTreeMap<usize, Verdict> {
    let folder = tempfile::tempdir().unwrap();
    for (number, text) in texts.iter().enumerate() {
        let escaped = text.chars().map(|letter| match letter {
            ' '..='~' => letter.to_string(),
            _ => format!("\\u{:04x}", u32::from(letter)),
        });
        let escaped = escaped.collect::<String>();
        let block = format!("terraform {{ required_version = \"{escaped}\" }}\n");
        std::fs::write(folder.path().join(format!("{number}.tf")), block).unwrap();
    }
    let answer = terraform(&["validate", "-json"], folder.path());
    let diagnostics = answer["diagnostics"].as_array().unwrap().iter();
    diagnostics
        .map(|it| {
            let verdict = match it["summary"].as_str().unwrap() {
                "Invalid version constraint" => Verdict::Malformed,
                "Invalid required_version constraint" => Verdict::PreRelease,
                "Unsupported Terraform Core version" => Verdict::Rejected,
                _ => panic!("{it}"),
            };
            let file = it.pointer("/range/filename").and_then(|it| it.as_str()).unwrap();
            (file.trim_end_matches(".tf").parse().unwrap(), verdict)
        })
        .collect()
}

fn terraform_version() -> Version {
    let answer = terraform(&["version", "-json"], std::path::Path::new("/"));
    answer["terraform_version"].as_str().unwrap().parse().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the test's own Terraform")]
fn terraform(arguments: &[&str], folder: &std::path::Path) -> serde_json::Value {
    let output = std::process::Command::new("terraform")
        .args(arguments)
        .current_dir(folder)
        .env("CHECKPOINT_DISABLE", "1")
        .env_remove("TF_CLI_CONFIG_FILE")
        .output()
        .expect("terraform is needed: CONTRIBUTING.md says how to get it");
    serde_json::from_slice(&output.stdout).unwrap()
}
