//! The files of a Lambda function.

use std::{cell::RefCell, collections::BTreeSet, path::Path};

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use super::{NEVER_RELEASED, RECOVERY_COPIES};
use crate::{
    base::{
        error::{Error, Result},
        units::bytes_text,
    },
    config::{component::Manifest, names::Component},
    release::source::{Boundary, TreeFile, walk},
};

/// What a user can do about a pattern of `lambda.exclude` that matches nothing.
pub(crate) const UNUSED_PATTERN: &str = "write the path relative to the function's folder, \
                                         without `./` and a final `/`: `tests/**` or `**/*.md`";
/// AWS's limit for the unzipped size of a function with its layers, in bytes: 250 MB, by which AWS
/// means MiB.
const UNZIPPED_LIMIT: u64 = 250 * 1024 * 1024;
const LARGEST_SHOWN: usize = 5;

/// What goes into a zip.
pub(crate) struct LambdaFiles {
    pub(crate) files: Vec<TreeFile>,
    /// The patterns of `lambda.exclude` that match nothing.
    pub(crate) unused: Vec<String>,
}

/// Returns the files of the function, from `lambda.source`, the folder with the component's name,
/// or `src`.
pub(crate) fn files(
    manifest: &Manifest,
    component: &Component,
    folder: &Path,
    root: &Path,
) -> Result<LambdaFiles> {
    let settings = manifest.lambda.clone().unwrap_or_default();
    let source = match &settings.source {
        Some(source) if !folder.join(source).is_dir() => {
            return Err(Error::input(format!(
                "cdflow.yml: `lambda.source`: folder `{}` not found",
                source.display()
            ))
            .hint("set a path relative to the folder of cdflow.yml"));
        }
        Some(source) => folder.join(source),
        None => {
            let candidates = [folder.join(component.as_str()), folder.join("src")];
            candidates.into_iter().find(|path| path.is_dir()).ok_or_else(|| {
                Error::input(format!(
                    "`{}` has neither a folder `{component}` nor `src`",
                    folder.display()
                ))
                .hint(
                    "put the function's code into one of them, or set its folder in cdflow.yml \
                     (`lambda: {source: …}`)",
                )
            })?
        }
    };
    let exclude = Exclude::parse(&settings.exclude)?;
    let copies = recovery_copies()?;
    let is_left_out =
        |path: &Path| exclude.matches(path) || is_never_released(path) || copies.is_match(path);
    let files = walk(&source, &Boundary::new(root, "the checkout"), is_left_out)?;
    check_size(&files, &source)?;
    Ok(LambdaFiles { files, unused: exclude.unused() })
}

fn is_never_released(path: &Path) -> bool {
    path.file_name().is_some_and(|name| NEVER_RELEASED.iter().any(|never| name == *never))
}

fn recovery_copies() -> Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for pattern in RECOVERY_COPIES {
        let parsed = GlobBuilder::new(pattern).literal_separator(true).build();
        set.add(parsed.map_err(|error| Error::internal("a built-in pattern is bad").why(error))?);
    }
    set.build().map_err(|error| Error::internal("the built-in patterns are bad").why(error))
}

/// The patterns of `lambda.exclude`, and which of them have matched something.
struct Exclude<'a> {
    patterns: &'a [String],
    set: GlobSet,
    matched: RefCell<BTreeSet<usize>>,
}

impl<'a> Exclude<'a> {
    fn parse(patterns: &'a [String]) -> Result<Self> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let parsed = Glob::new(pattern).map_err(|error| {
                Error::input("cdflow.yml: `lambda.exclude` has an invalid pattern").why(error)
            })?;
            set.add(parsed);
        }
        let set = set.build().map_err(|error| {
            Error::input("cdflow.yml: `lambda.exclude` cannot be used").why(error)
        })?;
        Ok(Self { patterns, set, matched: RefCell::default() })
    }

    fn matches(&self, path: &Path) -> bool {
        let found = self.set.matches(path);
        self.matched.borrow_mut().extend(&found);
        if found.is_empty() {
            return false;
        }
        // What is below is not visited any more.
        let below = |pattern: &String| Path::new(pattern).starts_with(path);
        let below = self.patterns.iter().enumerate().filter(|(_, pattern)| below(pattern));
        self.matched.borrow_mut().extend(below.map(|(at, _)| at));
        true
    }

    /// Returns the patterns that match nothing. One for any depth is meant for what might be there.
    fn unused(&self) -> Vec<String> {
        let matched = self.matched.borrow();
        let unused = self.patterns.iter().enumerate().filter(|(at, _)| !matched.contains(at));
        unused.map(|(_, it)| it.clone()).filter(|it| !it.starts_with("**/")).collect()
    }
}

fn check_size(files: &[TreeFile], source: &Path) -> Result<()> {
    if files.is_empty() {
        return Err(Error::input(format!(
            "the function's folder `{}` has no files",
            source.display()
        ))
        .hint("add the function's code"));
    }
    let total: u64 = files.iter().map(|file| file.size).sum();
    if total <= UNZIPPED_LIMIT {
        return Ok(());
    }
    let mut largest: Vec<&TreeFile> = files.iter().collect();
    largest.sort_by_key(|file| std::cmp::Reverse(file.size));
    let largest: Vec<String> = largest
        .iter()
        .take(LARGEST_SHOWN)
        .map(|file| format!("{} ({})", file.name, bytes_text(file.size)))
        .collect();
    Err(Error::input(format!(
        "the function is {} unzipped; the limit of AWS Lambda is {}",
        bytes_text(total),
        bytes_text(UNZIPPED_LIMIT)
    ))
    .why(format!("the largest files are {}", largest.join(", ")))
    .hint("exclude files with `lambda: {exclude: […]}` in cdflow.yml"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree(size: u64) -> TreeFile {
        TreeFile { name: format!("f{size}"), path: "/f".into(), executable: false, size }
    }

    #[test]
    fn too_large_names_the_largest() {
        let files: Vec<TreeFile> =
            [1, 100, 200, 50, 300, 150].map(|mb| tree(mb * 1_000_000)).to_vec();
        let refused = check_size(&files, Path::new("src")).unwrap_err().to_string();
        assert!(
            refused.contains("801.0 MB unzipped")
                && refused.contains("f300000000 (300.0 MB), f200000000"),
            "{refused}"
        );
        assert!(!refused.contains("f1000000 "), "{refused}");
        assert!(check_size(&[tree(UNZIPPED_LIMIT)], Path::new("src")).is_ok());
        assert!(check_size(&[tree(UNZIPPED_LIMIT + 1)], Path::new("src")).is_err());
        assert!(check_size(&[], Path::new("src")).is_err());
    }

    fn read(exclude: &[&str]) -> (Vec<String>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        for file in [
            "cdflow.yml",
            "handler.py",
            ".git/config",
            ".cdflow/cache/x",
            ".cdflow-cache/x",
            ".terraform/x",
            "lib/.git",
            "lib/x.py",
            "lib/.gitignore",
            "tests/x.py",
            "node_modules/.bin/real",
            "recovery-platform-checkout-live-20260102T030405Z.tfstate",
            "states/recovery/platform/checkout/live/20260102T030405Z.tfstate",
            "tests/recovery-of.tfstate",
        ] {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        for (target, link) in [("../gone", "node_modules/.bin/tool"), ("../..", "node_modules/up")]
        {
            std::os::unix::fs::symlink(target, folder.path().join(link)).unwrap();
        }
        let patterns = exclude.iter().map(|pattern| format!("{pattern:?}")).collect::<Vec<_>>();
        let text = format!(
            "account-scheme-url: ./x.json\nteam: t\ntype: lambda\n\
             lambda: {{source: ., exclude: [{}]}}\n",
            patterns.join(", ")
        );
        let manifest = Manifest::parse("cdflow.yml", &text).unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let read = files(&manifest, &"x".parse().unwrap(), &root, &root).unwrap();
        (read.files.into_iter().map(|file| file.name).collect(), read.unused)
    }

    /// A token of the checkout is in `.git/config`, and a submodule has a file of this name.
    #[test]
    fn what_git_and_tools_keep_is_left_out() {
        let (files, _) = read(&["node_modules/**"]);
        let own = ["lib/.gitignore", "lib/x.py", "tests/recovery-of.tfstate", "tests/x.py"];
        assert_eq!(files, [&["cdflow.yml", "handler.py"][..], &own].concat());
    }

    /// An excluded link leads nowhere or in a circle, and is not followed.
    #[test]
    fn links_are_excluded_before_they_are_followed() {
        for exclude in [&["node_modules/.bin/**", "node_modules/up"][..], &["node_modules"]] {
            let (files, unused) = read(exclude);
            assert!(!files.iter().any(|file| file.contains("tool") || file.contains("up")));
            assert_eq!(unused, Vec::<String>::new(), "{exclude:?}");
        }
    }

    #[test]
    fn patterns_that_match_nothing_are_named() {
        let exclude =
            ["node_modules", "tests/", "./tests", "src/tests", "tests/**", "lib/*.rs", "**/*.o"];
        assert_eq!(read(&exclude).1, ["tests/", "./tests", "src/tests", "lib/*.rs"]);
        // The second is below what the first excludes.
        assert_eq!(read(&["node_modules", "node_modules/.bin/**"]).1, Vec::<String>::new());
    }
}
